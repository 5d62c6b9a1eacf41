# SPDX-License-Identifier: Apache-2.0
"""Backends over HTTP that keep what they get, with and without TLS, and certificates for them."""
import contextlib
import gzip
import http.server
import socket
import ssl
import subprocess
import sys
import threading
import zlib


class HttpSink(http.server.ThreadingHTTPServer):
    """Answers every POST with success; `requests` are (path, headers, body as it was before its
    content coding)."""
    daemon_threads = True

    def __init__(self, port, tls=None, host="127.0.0.1"):
        super().__init__((host, port), Handler)
        self.requests, self.connections = [], []
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        accepted = super().get_request()
        self.connections.append(accepted[0])
        return accepted

    def stop(self):
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # it has ended before
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # which `stop` may cause
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        coding = self.headers.get("Content-Encoding")
        if coding == "gzip":
            body = gzip.decompress(body)
        elif coding == "deflate":
            body = zlib.decompress(body)
        self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words):
        pass


class Authority:
    """A certificate authority of the test's own, and what it signs, as PEM files in `folder`."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-days", "2", "-subj", f"/CN={name}",
                     "-keyout", self.key(name), "-out", self.cert(name))

    def cert(self, name):
        return self.folder / f"{name}.crt"

    def key(self, name):
        return self.folder / f"{name}.key"

    def openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    def sign(self, name, host=None):
        """A certificate for `name`, or for that DNS name."""
        request, extra = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extra.write_text(f"subjectAltName=DNS:{host or name}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-keyout", self.key(name), "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.cert(self.name),
                     "-CAkey", self.key(self.name), "-CAcreateserial", "-days", "2",
                     "-extfile", extra, "-out", self.cert(name))

    def server(self, name):
        """A context with that certificate that wants a client's of the same authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert(name), self.key(name))
        context.load_verify_locations(self.cert(self.name))
        context.verify_mode = ssl.CERT_REQUIRED
        return context
