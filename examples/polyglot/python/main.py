"""A stop on the trip, in Python: nothing but the standard library."""

import json
import os
import platform
import signal
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ME = "python"
PASSED_ON = ("traceparent", "tracestate", "x-request-id", "madang-timeout", "madang-principal")


class Lost(Exception):
    """The trip ends here."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def onward(stops, headers):
    """The stops after this one: the next is where its variable says, and it is asked for the rest."""
    if not stops:
        return []
    url = os.environ.get(f"{stops[0].upper()}_URL")
    if url is None:
        raise Lost(404, f"{ME} declares no calls to {stops[0]}")
    sent = {name: headers[name] for name in PASSED_ON if name in headers}
    request = urllib.request.Request("/".join([url, stops[0], "trip", *stops[1:]]), headers=sent)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["stops"]
    except urllib.error.HTTPError as answer:
        body = json.load(answer)
        raise Lost(answer.code, body.get("detail") or body.get("error")) from None


class Stop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = [part for part in self.path.split("?")[0].split("/") if part]
        if path == ["healthz"]:
            return self.say(200, {"ready": True})
        if path[:2] != [ME, "trip"]:
            return self.say(404, {"error": f"ask for /{ME}/trip"})
        try:
            here = {"service": ME, "language": f"Python {platform.python_version()}"}
            self.say(200, {"stops": [here, *onward(path[2:], self.headers)]})
        except Lost as lost:
            self.say(lost.status, {"error": f"{ME}: {lost}"})
        except OSError as error:
            self.say(502, {"error": f"{ME}: {error}"})

    def say(self, status, body):
        body = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The gateway and the doors leave a record of every request."""


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Stop)
# Its own thread, because a server cannot be told to stop from within the loop that serves.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"{ME} listens on {os.environ['PORT']}", flush=True)
server.serve_forever()
