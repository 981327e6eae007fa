"""A service without the SDK: what Madang tells it, it finds in its environment."""

import http.server
import json
import os
import socketserver
import sys
import time
import urllib.error
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        what, *rest = self.path.strip("/").split("/")
        if what == "call":
            # /call/users/1: what `users` answers to /1
            self.answer(*self.call(rest[0], "/".join(rest[1:])))
        elif what == "fail":
            self.answer(500, {"service": os.environ.get("MADANG_SERVICE"), "failed": True})
        elif what == "slowly":
            self.answer(200, self.seen(), pause=0.3)
        elif what == "cut":
            self.answer(200, self.seen(), most=10)
        elif what == "env":
            self.answer(200, dict(os.environ))
        else:
            self.answer(200, self.seen())

    def seen(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        return {"service": os.environ.get("MADANG_SERVICE"), "pid": os.getpid(), "path": self.path, "headers": headers}

    def call(self, service, path):
        url = os.environ[service.upper() + "_URL"] + "/" + path
        passed_on = ["x-request-id", "traceparent", "madang-timeout", "idempotency-key", "madang-caller", "madang-principal"]
        if "FORGETFUL" in os.environ:
            passed_on = []
        headers = {name: self.headers[name] for name in passed_on if name in self.headers}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def answer(self, status, value, pause=0, most=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        time.sleep(pause)
        self.wfile.write(body[:most])
        self.close_connection = most is not None

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ["PORT"])
    Server(("127.0.0.1", port), Handler).serve_forever()
