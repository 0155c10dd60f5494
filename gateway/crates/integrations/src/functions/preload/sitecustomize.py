"""Leads the api's Amazon names to this machine's gateway.

Python imports this file at its start, from the folder that the gateway puts first in PYTHONPATH.
A handler that posts to https://{api}.execute-api.{region}.amazonaws.com then reaches the gateway,
over TLS, with the certificate checked against that very name. Every other name is left alone.
"""

import os
import sys


def _lead_to_gateway(suffix, port):
    import socket

    lookup = socket.getaddrinfo

    def is_gateway(host):
        if isinstance(host, (bytes, bytearray)):
            host = bytes(host).decode("ascii", "replace")
        return isinstance(host, str) and host.rstrip(".").lower().endswith(suffix)

    def getaddrinfo(host, port_, *rest, **named):
        if is_gateway(host):
            return lookup("127.0.0.1", port, *rest, **named)
        return lookup(host, port_, *rest, **named)

    socket.getaddrinfo = getaddrinfo


def _run_the_one_behind():
    """Runs the sitecustomize that Python would have found without this folder."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    path = [entry for entry in sys.path if os.path.abspath(entry) != here]
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


_suffix = os.environ.get("TIDEGATE_EXECUTE_API_SUFFIX")
_port = os.environ.get("TIDEGATE_EXECUTE_API_PORT")
if _suffix and _port:
    _lead_to_gateway(_suffix.lower(), int(_port))
_run_the_one_behind()
