"""Installs a chart by the real Helm into a stand-in for Kubernetes, and prints what was created.

In:  a chart's folder, a release name, values as JSON; HOME, which Helm writes its caches below, and
     TIDEGATE_HELM, the folder of the package. `libhelm_sdkpy.so` is Helm 4's own Go code
     behind a C interface, from the PyPI package of that name.
Out: on stdout one JSON object: {"objects": [manifest, ...], "notes": text}, the objects in the
     order in which Helm created them; or {"error": text} where Helm refused, as for bad values.

The stand-in knows the kinds that are listed below, says that nothing exists yet, and takes
whatever is created. It checks nothing: that is done with what is printed here.
"""

import base64
import ctypes
import gzip
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Group and version, and of each kind its plural.
KINDS = {
    "v1": {"ConfigMap": "configmaps", "Secret": "secrets", "Service": "services",
           "ServiceAccount": "serviceaccounts"},
    "apps/v1": {"Deployment": "deployments"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "monitoring.coreos.com/v1": {"ServiceMonitor": "servicemonitors"},
    "networking.k8s.io/v1": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}


def discovery(path):
    """What a Kubernetes server says of itself below `path`, or None."""
    if path == "/version":
        return {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [name.split("/") for name in KINDS if "/" in name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": group, "versions": [both], "preferredVersion": both}
            for group, version in groups
            for both in [{"groupVersion": f"{group}/{version}", "version": version}]
        ]}
    name = path.removeprefix("/apis/").removeprefix("/api/")
    if name in KINDS:
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": [
            {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind,
             "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]}
            for kind, plural in KINDS[name].items()
        ]}
    return None


class StandIn(BaseHTTPRequestHandler):
    """Answers Helm; what is created goes to `created`."""

    protocol_version = "HTTP/1.1"
    created = []
    record = None

    def answer(self, status, body):
        self.send(status, "application/json", json.dumps(body).encode())

    def send(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        found = discovery(path)
        if found is not None:
            return self.answer(200, found)
        if path.endswith("/secrets"):
            return self.answer(200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})
        self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                          "reason": "NotFound", "code": 404, "message": "not found"})

    def do_POST(self):
        self.take(201)

    def do_PUT(self):
        self.take(200)

    def take(self, status):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        if kind == "application/json":
            StandIn.created.append(json.loads(body))
        else:
            # Helm's own record of the release, a secret in Kubernetes' binary form: base64 around gzip.
            StandIn.record = re.search(rb"H4sI[A-Za-z0-9+/=]+", body)[0]
        self.send(status, kind, body)

    def log_message(self, *_):
        pass


def library():
    folder = os.environ["TIDEGATE_HELM"]
    found = list(pathlib.Path(folder).glob("helm_sdkpy/_lib/linux-amd64/libhelm_sdkpy.so"))
    if not found:
        sys.exit(f"no libhelm_sdkpy.so for this machine in {folder}: ./test.sh installs it on x86-64")
    lib = ctypes.CDLL(str(found[0]))
    lib.helm_sdkpy_last_error.restype = ctypes.c_char_p
    return lib


def main():
    chart, release, values = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        kubeconfig = pathlib.Path(home, "kubeconfig")
        kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "here", "users": [],
            "clusters": [{"name": "here",
                          "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "here",
                          "context": {"cluster": "here", "user": "", "namespace": "gateways"}}],
        }))
        lib = library()
        handle = ctypes.c_ulonglong()
        result = ctypes.c_char_p()
        options = {"wait": False, "timeout_seconds": 30, "server_side_apply": "false",
                   "disable_openapi_validation": True}
        failed = lib.helm_sdkpy_config_create(
            b"gateways", str(kubeconfig).encode(), None, b"{}", ctypes.byref(handle)
        ) or lib.helm_sdkpy_install(
            handle, release.encode(), chart.encode(), values.encode(), b"",
            json.dumps(options).encode(), ctypes.byref(result)
        )
        if failed:
            print(json.dumps({"error": lib.helm_sdkpy_last_error().decode()}))
        else:
            release = json.loads(gzip.decompress(base64.b64decode(StandIn.record)))
            notes = release["info"]["notes"]
            print(json.dumps({"objects": StandIn.created, "notes": notes}))


if __name__ == "__main__":
    main()
