"""A service in Python with OpenTelemetry's own library, started by `opentelemetry-instrument`. It has no setting for it:
the environment says it all."""

import json
import logging
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry import metrics, propagate, trace

ME = os.environ["MADANG_SERVICE"]
tracer = trace.get_tracer("stops", "1.2")
stops = metrics.get_meter("stops").create_histogram("stop.size", unit="By")


class Stop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parent = propagate.extract(self.headers)
        status, body = 500, {"error": "it broke"}
        try:
            with tracer.start_as_current_span("stop", context=parent, kind=trace.SpanKind.SERVER) as span:
                span.set_attribute("path", self.path)
                span.add_event("arrived", {"by": "door"})
                logging.getLogger(ME).warning("a stop at %s", ME)
                if self.path.endswith("/fail"):
                    raise ValueError("no such stop")
                with tracer.start_as_current_span("pack"):
                    status, body = 200, {"stops": [{"service": ME}]}
        except ValueError:
            pass
        body = json.dumps(body).encode()
        stops.record(len(body), {"path": "trip"})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Stop)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
