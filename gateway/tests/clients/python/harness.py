"""What the Python programs share: one named case per run, against a gateway that the test started.

In:  the case's name (or --list) as the argument; TIDEGATE_WS_URL and TIDEGATE_MANAGEMENT_URL, the
     stage's two addresses. Out: exit 0, or a traceback that says what was different.

The backend behind the gateway answers WHO with the sender's connection id and everything else
with itself.
"""

import os
import sys
import unittest

import websockets.sync.client
from websockets.exceptions import ConnectionClosed

WS_URL = os.environ.get("TIDEGATE_WS_URL", "")
MANAGEMENT_URL = os.environ.get("TIDEGATE_MANAGEMENT_URL", "")
WHO = "who am I"
DEADLINE_S = 20

check = unittest.TestCase()
check.maxDiff = None

_cases = {}


def case(function):
    """Registers a case under its function's name."""
    _cases[function.__name__] = function
    return function


def main():
    """Runs the case that the argument names."""
    (name,) = sys.argv[1:]
    if name == "--list":
        print("\n".join(_cases))
    else:
        _cases[name]()


def connect(query="", **options):
    """An open WebSocket of the PyPI package `websockets`."""
    return websockets.sync.client.connect(
        WS_URL + query, proxy=None, open_timeout=DEADLINE_S, close_timeout=DEADLINE_S, **options
    )


def connection_id(socket):
    """Asks the backend which connection this is."""
    socket.send(WHO)
    return socket.recv(timeout=DEADLINE_S)


def closed(socket):
    """Waits for the gateway's close frame; its code and reason."""
    with check.assertRaises(ConnectionClosed) as caught:
        socket.recv(timeout=DEADLINE_S)
    frame = caught.exception.rcvd
    check.assertIsNotNone(frame, f"the connection ended without a close frame: {caught.exception}")
    return frame.code, frame.reason
