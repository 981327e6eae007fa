"""A service without the SDK that knows people and their passwords, and says who a request is for."""

import json
import os
import sys

sys.dont_write_bytecode = True  # a folder that appears beside the manifest would be looked at

import service


class Handler(service.Handler):
    def do_GET(self):
        self.answer(200, self.seen() | {"keys": os.environ["MADANG_PRINCIPAL_KEYS"]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/madang/login":
            self.do_GET()
        elif json.loads(body) == {"login": "alice", "password": "correct horse"}:
            self.answer(200, {"subject": "1", "claims": {"name": "Alice", "roles": ["clerk"]}})
        else:
            self.answer(401, {})


service.Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
