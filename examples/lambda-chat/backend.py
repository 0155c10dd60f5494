"""The chat's page, which is that of `../chat`. What answers the page's messages are the functions.

In:  GET requests on 127.0.0.1:$PAGE_PORT (3000). Out: the page's files; where the gateway is
     (`/config.json`: $GATEWAY_PORT, 8080); `/healthz`.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PAGE = Path(__file__).parent.parent / "chat" / "page"
GATEWAY = f"ws://127.0.0.1:{os.environ.get('GATEWAY_PORT', '8080')}/live"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/chat.css": ("chat.css", "text/css; charset=utf-8"),
    "/chat.js": ("chat.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# Nothing on the page comes from elsewhere, and the browser insists on it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/config.json":
            self.answer(200, "application/json", json.dumps({"url": GATEWAY}).encode())
        elif path == "/healthz":
            self.answer(200, "text/plain", b"ok")
        elif path in FILES:
            name, kind = FILES[path]
            self.answer(200, kind, (PAGE / name).read_bytes())
        else:
            self.answer(404, "text/plain", b"")

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *what):
        """The page's requests are nobody's concern."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A browser that goes away in the middle of an answer is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    port = int(os.environ.get("PAGE_PORT", "3000"))
    Server(("127.0.0.1", port), Page).serve_forever()
