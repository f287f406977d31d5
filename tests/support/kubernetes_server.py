"""A server that speaks what kubectl asks of Kubernetes' API about JobSets, on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.json_server import json_server

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
        self.resources: dict[str, dict] = {}
        self.applied: list[dict] = []
        self.conditions: list[dict] = []
        self.lock = threading.Lock()

    def answer(self, method: str, address: str, body: Any) -> tuple[int, dict]:
        path = address.partition("?")[0]
        if path in DISCOVERY:
            return 200, DISCOVERY[path]
        start = f"/apis/{GROUP}/{VERSION}/namespaces/default/jobsets"
        if not path.startswith(start):
            return 404, status(404, path)
        name = path[len(start) :].strip("/")
        with self.lock:
            if method == "POST":
                self.applied.append(body)
                self.resources[body["metadata"]["name"]] = body
                return 201, body
            if name not in self.resources:
                return 404, status(404, f'jobsets.{GROUP} "{name}" not found')
            if method == "DELETE":
                del self.resources[name]
                return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
            if method == "GET" and self.conditions and self.applied:
                self.resources[name]["status"] = {"conditions": self.conditions}
            return 200, self.resources[name]


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
    cluster, config = Cluster(), folder / "kubeconfig"
    with json_server(cluster.answer) as address:
        entry = {"name": "here", "cluster": {"server": address}}
        context = {"name": "here", "context": {"cluster": "here", "user": ""}}
        settings = {"clusters": [entry], "contexts": [context], "current-context": "here", "kind": "Config"}
        config.write_text(yaml.safe_dump(settings))
        yield cluster, {"KUBECONFIG": str(config)}
