"""A server that speaks what kubectl asks of Kubernetes' API about JobSets, on this machine."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

GROUP, VERSION = "jobset.x-k8s.io", "v1alpha2"
OPENAPI = f"/openapi/v3/apis/{GROUP}/{VERSION}"
RESOURCE = {
    "name": "jobsets", "singularName": "jobset", "namespaced": True, "kind": "JobSet",
    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
}  # fmt: skip
DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": GROUP,
                "versions": [{"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}],
                "preferredVersion": {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION},
            }
        ],
    },
    f"/apis/{GROUP}/{VERSION}": {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": [RESOURCE],
    },
    "/openapi/v3": {"paths": {f"apis/{GROUP}/{VERSION}": {"serverRelativeURL": OPENAPI}}},
    # That the server itself checks the fields of what is applied.
    OPENAPI: {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": {
            f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/jobsets/{{name}}": {
                "patch": {
                    "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                    "x-kubernetes-group-version-kind": {"group": GROUP, "version": VERSION, "kind": "JobSet"},
                    "responses": {"200": {"description": "OK"}},
                }
            }
        },
        "components": {"schemas": {}},
    },
}  # fmt: skip


class Cluster:
    """The JobSets by name, and what becomes of the next ones: conditions, set once they have been asked for."""

    def __init__(self) -> None:
        self.there: dict[str, dict] = {}
        self.applied: list[dict] = []
        self.conditions: list[dict] = []
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict]:
        if path in DISCOVERY:
            return 200, DISCOVERY[path]
        start = f"/apis/{GROUP}/{VERSION}/namespaces/default/jobsets"
        if not path.startswith(start):
            return 404, status(404, path)
        name = path[len(start) :].strip("/")
        with self.lock:
            if method == "POST":
                self.applied.append(body)
                self.there[body["metadata"]["name"]] = body
                return 201, body
            if name not in self.there:
                return 404, status(404, f'jobsets.{GROUP} "{name}" not found')
            if method == "DELETE":
                del self.there[name]
                return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
            if method == "GET" and self.conditions and self.applied:
                self.there[name]["status"] = {"conditions": self.conditions}
            return 200, self.there[name]


def status(code: int, message: str) -> dict:
    reason = "NotFound" if code == 404 else "Unknown"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": message,
    }


@contextmanager
def kubernetes(folder: Path) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """Serves a cluster; yields it, and the variables that lead kubectl to it. Its configuration is kept in `folder`."""
    cluster = Cluster()

    class Handler(http.server.BaseHTTPRequestHandler):
        def reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = yaml.safe_load(self.rfile.read(length)) if length else None
            code, content = cluster.answer(self.command, self.path.partition("?")[0], body)
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PATCH = reply

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = folder / "kubeconfig"
    entry = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "here", "context": {"cluster": "here", "user": ""}}
    config.write_text(
        yaml.safe_dump({"clusters": [entry], "contexts": [context], "current-context": "here", "kind": "Config"})
    )
    try:
        yield cluster, {"KUBECONFIG": str(config)}
    finally:
        server.shutdown()
        server.server_close()
