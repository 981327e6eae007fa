"""A service without the SDK that knows people and their passwords, and says who a request is for."""

import http.server
import json
import os
import socketserver


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.answer(200, {"path": self.path, "headers": headers, "keys": os.environ["MADANG_PRINCIPAL_KEYS"]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/madang/login":
            self.do_GET()
        elif json.loads(body) == {"login": "alice", "password": "correct horse"}:
            self.answer(200, {"subject": "1", "claims": {"name": "Alice", "roles": ["clerk"]}})
        else:
            self.answer(401, {})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
