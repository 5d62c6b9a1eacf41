# SPDX-License-Identifier: Apache-2.0
"""Certificates of a test, made by openssl in its folder: an authority, and below it one for the
server and one for the client."""
import subprocess


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make(folder):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    for name in ("server", "client"):
        (folder / f"{name}.extensions").write_text(
            f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={name}Auth\n")
        openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.request", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.request", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.extensions",
                "-out", f"{name}.pem")


def settings(folder, mutual):
    """Of undertrace, for both protocols; see peers.CONFIG."""
    tls = (f"        tls:\n          cert_file: {folder}/server.pem\n"
           f"          key_file: {folder}/server.key\n")
    if mutual:
        tls += f"          client_ca_file: {folder}/ca.pem\n"
    return {"grpc_more": tls, "http_more": tls}


def words(folder, mutual):
    """What tells telemetrygen of them."""
    found = ["--ca-cert", folder / "ca.pem"]
    if mutual:
        found += ["--mtls", "--client-cert", folder / "client.pem",
                  "--client-key", folder / "client.key"]
    return found


def environment(folder, mutual):
    """What tells an SDK of them."""
    name = "OTEL_EXPORTER_OTLP_"
    found = {f"{name}CERTIFICATE": f"{folder}/ca.pem"}
    if mutual:
        found |= {f"{name}CLIENT_CERTIFICATE": f"{folder}/client.pem",
                  f"{name}CLIENT_KEY": f"{folder}/client.key"}
    return found
