"""A provider of language models to try the gateway with, without a network: `python3 provider.py`."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
WORDS = ["Hello", " from", " the", " provider."]
USAGE = {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12}


class Provider(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.body())
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if request.get("stream") else "application/json")
        self.end_headers()
        if not request.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            self.write({"object": "chat.completion", "usage": USAGE}, {"message": message, "finish_reason": "stop"})
            return
        for word in WORDS:
            self.write({}, {"delta": {"content": word}, "finish_reason": None}, begin="data: ", end="\n\n")
        self.write({}, {"delta": {}, "finish_reason": "stop"}, begin="data: ", end="\n\n")
        if (request.get("stream_options") or {}).get("include_usage"):
            self.write({"usage": USAGE}, None, begin="data: ", end="\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def body(self) -> bytes:
        """A policy such as pii-mask sends a body on in chunks: it does not know the length before."""
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        chunks = b""
        while size := int(self.rfile.readline(), 16):
            chunks += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return chunks

    def write(self, more: Json, choice: Json | None, *, begin: str = "", end: str = "") -> None:
        choices = [] if choice is None else [{"index": 0, **choice}]
        document = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "fake",
            "choices": choices,
            **more,
        }
        self.wfile.write(f"{begin}{json.dumps(document)}{end}".encode())


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8000), Provider)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
