#!/usr/bin/env python3
"""A collector of traces for tests: OTLP over HTTP with protobuf, read by the official descriptions (PyPI's
opentelemetry-proto). It listens on a free port of loopback.

Standard input takes a word a line, how it treats requests from then on:

    take        as a collector does
    refuse      answers 503
    hang        takes the request and answers nothing, until another word comes
    garbage     answers 200 with bytes that are no OTLP
    page        answers 200 with a web page
    reject      answers that it rejected every span

Standard output gives a JSON object a line: {"port": …} first, {"request": …} for each request, and {"span": …} for each span
of a request that it took.
"""
import gzip
import http.server
import json
import ssl
import sys
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

lock = threading.Condition()
mode = "take"


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def attributes(pairs):
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = None if kind is None else getattr(pair.value, kind)
        if kind not in ("string_value", "int_value", "double_value", "bool_value"):
            found[pair.key] = json_format.MessageToDict(pair.value)
    return found


def read(request):
    spans = []
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                spans.append(
                    {
                        "resource": attributes(of_resource.resource.attributes),
                        "scope": of_scope.scope.name,
                        "name": span.name,
                        "kind": span.kind,
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "attributes": attributes(span.attributes),
                        "events": [{"name": e.name, **attributes(e.attributes)} for e in span.events],
                        "status": span.status.code,
                        "message": span.status.message,
                    }
                )
    return spans


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global mode
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            now = mode
        say(request={"mode": now, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}})
        if now == "hang":
            with lock:
                lock.wait_for(lambda: mode != "hang", timeout=120)
            self.close_connection = True
            return
        if now == "refuse":
            return self.answer(503, b"not now", "text/plain")
        if now == "garbage":
            return self.answer(200, b"\xff\xff\xff\xff garbage", "application/x-protobuf")
        if now == "page":
            return self.answer(200, b"<html>welcome</html>", "text/html")
        if self.headers.get("Content-Type") != "application/x-protobuf":
            return self.answer(415, b"", "text/plain")
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = service.ExportTraceServiceRequest()
        request.ParseFromString(body)
        spans = read(request)
        answer = service.ExportTraceServiceResponse()
        if now == "reject":
            answer.partial_success.rejected_spans = len(spans)
            answer.partial_success.error_message = "no spans are wanted"
        else:
            for span in spans:
                say(span=span)
        self.answer(200, answer.SerializeToString(), "application/x-protobuf")

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


def main():
    global mode
    server = Server(("127.0.0.1", 0), Collector)
    # With two arguments, a certificate and its key, it speaks TLS.
    if len(sys.argv) == 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(port=server.server_address[1])
    for line in sys.stdin:
        with lock:
            mode = line.strip()
            lock.notify_all()
        say(mode=mode)


if __name__ == "__main__":
    main()
