# Takes messages of syslog, or logs over HTTP, and writes each as a line: receiver.py KIND PORT FILE [CERTIFICATE KEY]
#
# KIND is udp, tcp, tls or http. Says its port when it listens. Streams are read as RFC 6587 has them, octets counted.
# An HTTP receiver answers with the status in FILE.status while there is one.
import http.server
import os
import socket
import socketserver
import ssl
import sys
import threading

kind, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
out = open(path, "ab", buffering=0)
lock = threading.Lock()


def keep(message):
    with lock:
        out.write(message.replace(b"\n", b"\\n") + b"\n")


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            length = b""
            while (byte := self.rfile.read(1)) != b" ":
                if not byte:
                    return
                assert byte.isdigit(), byte
                length += byte
            message = self.rfile.read(int(length))
            if len(message) < int(length):
                return
            keep(message)


class Http(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json", self.headers
        status = int(open(path + ".status").read()) if os.path.exists(path + ".status") else 200
        if status == 200:
            keep(body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if kind == "udp":
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    print(server.getsockname()[1], flush=True)
    while True:
        keep(server.recv(65536))
server = Server(("127.0.0.1", port), Http if kind == "http" else Stream)
if kind == "tls":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
