# SPDX-License-Identifier: Apache-2.0
"""server.py's answers over TLS, one request a connection.

    tls_server.py NAME [ADDRESS]:PORT COLLECTOR DELAY_MS CERTIFICATE      key and certificate
"""
import io
import signal
import ssl
import sys
from wsgiref import simple_server

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

from sdk import make_provider
from server import answer


class Handler(simple_server.WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), "REMOTE_PORT": str(self.client_address[1])}


def answer_without_body(environ, start_response):
    """wsgiref's input ends with the connection."""
    return answer({**environ, "wsgi.input": io.BytesIO()}, start_response)


def main():
    name, listen, collector, delay_ms, certificate = sys.argv[1:]
    address, port = listen.rsplit(":", 1)
    provider = make_provider(name, collector, int(delay_ms))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = simple_server.make_server(address.strip("[]"), int(port),
                                       OpenTelemetryMiddleware(answer_without_body),
                                       handler_class=Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    try:
        server.serve_forever()
    finally:
        provider.shutdown()


if __name__ == "__main__":
    main()
