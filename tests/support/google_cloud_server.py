"""A server that speaks what gcloud asks of Google Cloud's TPU API (v2) and of its compute API, on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.json_server import json_server

MACHINES = [{"ipAddress": f"10.0.0.{n}", "accessConfig": {"externalIp": f"127.0.0.{n}"}, "port": 8470} for n in (1, 2)]
DONE = {"name": "projects/colors/locations/us-west4-a/operations/it", "done": True, "response": {}}


class Cloud:
    """What is there, by kind and name, and the requests that came: method, path and body."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, dict]] = {"nodes": {}, "queuedResources": {}}
        self.requests: list[tuple[str, str, Any]] = []
        self.lock = threading.Lock()

    def answer(self, method: str, address: str, body: Any) -> tuple[int, dict]:
        path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
        with self.lock:
            self.requests.append((method, path, body))
            if not path.startswith("/v2/"):  # the compute API: the project, and keys written into it
                return 200, {"kind": "compute#project", "name": "colors", "status": "DONE"}
            _, _, last = path.rpartition("locations/us-west4-a/")
            kind, _, name = last.partition("/")
            if kind == "operations":
                return 200, DONE
            if name.endswith(":getGuestAttributes"):
                return 200, {"guestAttributes": [{"queryValue": {"items": []}} for _ in MACHINES]}
            if method == "POST":
                self.create(kind, query[f"{kind[:-1]}Id"][0], body)
                return 200, DONE
            if name not in self.resources[kind]:
                status = {"code": 404, "status": "NOT_FOUND", "message": f"Resource '{path}' was not found"}
                return 404, {"error": status}
            if method == "DELETE":
                self.delete(kind, name)
                return 200, DONE
            if method == "PATCH":  # a key for ssh
                self.resources[kind][name] |= body
                return 200, DONE
            return 200, self.resources[kind][name]

    def create(self, kind: str, name: str, body: Any) -> None:
        place = f"projects/colors/locations/us-west4-a/{kind}/{name}"
        if kind == "nodes":
            self.resources[kind][name] = {**body, "name": place, "state": "READY", "networkEndpoints": MACHINES}
        else:
            self.resources[kind][name] = {**body, "name": place, "state": {"state": "ACTIVE"}}
            for spec in body["tpu"]["nodeSpec"]:
                self.create("nodes", spec["nodeId"], spec["node"])

    def delete(self, kind: str, name: str) -> None:
        resource = self.resources[kind].pop(name)
        for spec in resource.get("tpu", {}).get("nodeSpec", ()):
            self.resources["nodes"].pop(spec["nodeId"])


@contextmanager
def google_cloud() -> Iterator[tuple[Cloud, dict[str, str]]]:
    """Serves a cloud; yields it, and the variables that lead gcloud to it."""
    cloud = Cloud()
    with json_server(cloud.answer) as address:
        yield (
            cloud,
            {
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU": f"{address}/",
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{address}/compute/v1/",
                "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0",
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
                "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            },
        )
