"""A backend as a process of its own, and a stand-in for the gateway that keeps what is pushed.

Holds always: ports are free ones of this machine; a wait has a deadline; what was started ends
with its test.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent
DEADLINE_S = 30
SECRET = "of the tests"


def until(what, look):
    """What `look` gives, as soon as it is something."""
    end = time.monotonic() + DEADLINE_S
    while not (seen := look()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.01)
    return seen


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Backend:
    def __init__(self, database, gateway_port, **environment):
        self.database = database
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backend"],
            cwd=EXAMPLE,
            env={
                **os.environ,
                "PAGE_PORT": str(self.port),
                "GATEWAY_PORT": str(gateway_port),
                "NOTIFY_DB": str(database),
                "NOTIFY_GATEWAY_SECRET": SECRET,
                "PYTHONDONTWRITEBYTECODE": "1",
                **environment,
            },
            stderr=subprocess.PIPE,
        )
        until("the backend's health", self._is_healthy)

    def kill(self):
        """As a crash does: nothing of the process runs any more."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def call(self, method, path, body=None, headers=None):
        """Status and JSON of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, data, {**kind, **(headers or {})})
            answer = connection.getresponse()
            self.headers = answer.headers
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()

    def sign_in(self, name):
        """The headers that speak for this user."""
        status, _ = self.call("POST", "/api/session", {"name": name, "password": "lighthouse"})
        assert status == 200, status
        cookie = {"Cookie": self.headers["Set-Cookie"].split(";")[0]}
        status, answer = self.call("POST", "/api/token", {"user": name}, cookie)
        assert status == 200, status
        return {"Authorization": f"Bearer {answer['token']}"}

    def as_gateway(self, user, route_key, message, event_type="MESSAGE", **headers):
        """A call as the gateway makes it for a connection of this user."""
        return self.call("POST", "/gateway", message, {
            "gateway-secret": SECRET,
            "Tidegate-Principal-Id": user,
            "Tidegate-Route-Key": route_key,
            "Tidegate-Event-Type": event_type,
            **headers,
        })

    def rows(self, query):
        connection = sqlite3.connect(self.database)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]
        finally:
            connection.close()

    def _is_healthy(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the backend has ended: {self.process.communicate()[1].decode()}")
        try:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except ConnectionError:
            return False
        finally:
            connection.close()


class GatewayStandIn:
    """Takes pushes, and like the gateway sends a message once for each key."""

    def __init__(self, port=0):
        #: Every push to a user as it came: path, key, message.
        self.tries = []
        #: What it answers next, a status each; 200 when there is none left.
        self.answers = []
        #: Cleared: a push comes in, and its answer does not go out.
        self.answering = threading.Event()
        self.answering.set()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = 200
                if "/@users/" in self.path:
                    stand_in.tries.append((self.path, self.headers["Idempotency-Key"], json.loads(body)))
                    status = stand_in.answers.pop(0) if stand_in.answers else 200
                    stand_in.answering.wait(DEADLINE_S)
                answer = b'{"recipients":2,"nodes":1}'
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except ConnectionError:
                    pass  # whoever pushed was killed meanwhile

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def sent(self):
        """What its clients would have got: the messages, once for each key, in their order."""
        return list({key: message for _, key, message in self.tries}.values())

    def stop(self):
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
