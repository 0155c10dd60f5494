"""A Lambda runtime client and its handler in one, with all bad manners on request.

The last argument says how it starts, `do` of each event what the handler does.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
HOW = sys.argv[-1]
connection = http.client.HTTPConnection(API)
last_status = None
own_times = []


def ask(method, path, body=None, headers={}, on=None):
    on = on or connection
    on.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = on.getresponse()
    return answer.status, answer.headers, answer.read()


def raw(text):
    host, port = API.split(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(text)
        return plain.recv(65536)


def stream(request_id, trailer):
    """Posts a result in pieces, as a streaming handler does."""
    head = (
        f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\n"
        f"Host: {API}\r\nTransfer-Encoding: chunked\r\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
        "Trailer: Lambda-Runtime-Function-Error-Type\r\n\r\n"
    )
    pieces = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in ("one ", "two ", "three"))
    assert b" 202 " in raw((head + pieces + "0\r\n" + trailer + "\r\n").encode())


def work(event, request_id, headers):
    """The handler: bytes are posted as they are, None is posted already."""
    what = event.get("do", "echo")
    if what == "pid":
        return os.getpid()
    if what == "headers":
        return {name.lower(): value for name, value in headers.items()}
    if what == "variables":
        return dict(os.environ)
    if what == "version":
        return {'version': 1}
    if what == "last-status":
        return last_status
    if what == "throw":
        raise ValueError("Unauthorized")
    if what == "hang":
        if "path" in event:
            with open(event["path"] + ".part", "w") as out:
                out.write(str(os.getpid()))
            os.rename(event["path"] + ".part", event["path"])
        while True:
            time.sleep(60)
    if what == "exit":
        sys.stderr.flush()
        os._exit(event["code"])
    if what == "abort":
        os.abort()
    if what == "print":
        for number in range(event.get("lines", 0)):
            print(f"line {number}".ljust(63))
        if "long" in event:
            print("x" * event["long"])
        return "done"
    if what == "complain":
        print("trouble \x1b[31m", file=sys.stderr)
        return "done"
    if what == "nonsense":
        return b"\xffnonsense"
    if what == "no-http":
        raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        return "done"
    if what == "foreign":
        other = "00000000-0000-4000-8000-000000000000"
        return ask("POST", f"invocation/{other}/response", b"{}")[0]
    if what == "next":
        return ask("GET", "invocation/next")[0]
    if what == "unknown-call":
        return ask("GET", "extension/register")[0]
    if what == "stream":
        return stream(request_id, "")
    if what == "break-stream":
        return stream(request_id, "Lambda-Runtime-Function-Error-Type: Function.Broke\r\n")
    if what == "large":
        return b"x" * event["size"]
    if what == "sleep":
        if "path" in event:
            open(event["path"], "w").close()
        time.sleep(event["s"])
        return "done"
    if what == "touch":
        open(event["path"], "w").close()
        return "done"
    if what == "meet":
        me = os.path.join(event["folder"], f"here.{os.getpid()}")
        open(me, "w").close()
        while sum(name.startswith("here.") for name in os.listdir(event["folder"])) < event["people"]:
            time.sleep(0.005)
        return os.getpid()
    if what == "spawn":
        return subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL).pid
    if what == "fetch":
        import ssl
        import urllib.request

        return urllib.request.urlopen(event["url"], timeout=5).read().decode()
    if what == "times":
        own_times.sort()
        return {"p50": own_times[len(own_times) // 2], "p99": own_times[len(own_times) * 99 // 100]}
    return event


def serve():
    global last_status
    while True:
        _, headers, event = ask("GET", "invocation/next")
        began = time.perf_counter()
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        parsed = json.loads(event or b"{}")
        path = f"invocation/{request_id}/"
        try:
            result = work(parsed, request_id, headers)
        except Exception as error:
            failure = {"errorMessage": str(error), "errorType": type(error).__name__}
            last_status, _, _ = ask("POST", path + "error", json.dumps(failure))
            continue
        if result is None:
            continue
        if parsed.get("do") == "twice":
            ask("POST", path + "response", b'"first"')
            last_status, _, _ = ask("POST", path + "response", b'"second"')
            continue
        if result is parsed:
            result = event
        elif not isinstance(result, bytes):
            result = json.dumps(result).encode()
        status, _, _ = ask("POST", path + "response", result, {"Content-Type": "application/json"})
        if status != 202:
            last_status = status
        own_times.append(time.perf_counter() - began)


if HOW == "crash":
    sys.exit(7)
if HOW == "init-error":
    failure = {"errorMessage": "no module named app", "errorType": "Runtime.ImportModuleError"}
    kind = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
    assert ask("POST", "init/error", json.dumps(failure), kind)[0] == 202
    sys.exit(1)
if HOW == "silent":
    time.sleep(600)
if HOW == "slow":
    time.sleep(1)
if HOW == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve()
