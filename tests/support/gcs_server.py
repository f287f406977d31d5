"""A server that speaks what is needed of Google Cloud Storage's JSON API, on this machine, and misbehaves if told to.

Objects are kept in memory. `POST /misbehave` with {"kind": "503" | "slow" | "cut", "share": 0.2} makes it answer that
share of requests so; {"kind": "", ...} ends it.
"""

import base64
import email
import hashlib
import http.server
import json
import random
import re
import threading
import time
import urllib.parse
import uuid

BUCKET = "bucket"
SLOW_SECONDS = 2.0


class Store:
    """The objects by name: content and generation."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.uploads: dict[str, tuple[str, bytearray, dict]] = {}
        self.lock, self.generation = threading.Lock(), 0
        self.chance, self.misbehaves, self.share, self.count = random.Random(0), "", 0.0, 0

    def put(self, name: str, content: bytes, expected: str | None) -> dict | None:
        """Writes an object; returns None where another generation than the expected one is there."""
        with self.lock:
            present = self.objects.get(name, (b"", 0))[1]
            if expected is not None and int(expected) != present:
                return None
            self.generation += 1
            self.objects[name] = (content, self.generation)
            return self.describe(name)

    def describe(self, name: str) -> dict:
        content, generation = self.objects[name]
        md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
        return {
            "kind": "storage#object", "id": f"{BUCKET}/{name}/{generation}", "name": name, "bucket": BUCKET,
            "generation": str(generation), "metageneration": "1", "size": str(len(content)), "md5Hash": md5,
            "etag": str(generation), "contentType": "application/octet-stream", "storageClass": "STANDARD",
            "timeCreated": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:00.000Z",
        }  # fmt: skip

    def listed(self, query: dict[str, str]) -> dict:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        first, end = query.get("startOffset", ""), query.get("endOffset", "\U0010ffff")
        with self.lock:
            names = sorted(name for name in self.objects if name.startswith(prefix) and first <= name < end)
            items, prefixes = [], set()
            for name in names:
                head, separator, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                if separator:
                    prefixes.add(prefix + head + delimiter)
                else:
                    items.append(self.describe(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, code: int, content: bytes | dict = b"", **headers: str) -> None:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        cut = code < 300 and len(body) > 1 and self._due("cut")
        self.send_response(code)
        kind = "application/json" if isinstance(content, dict) else "application/octet-stream"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def _due(self, kind: str) -> bool:
        with self.store.lock:
            return self.store.misbehaves == kind and self.store.chance.random() < self.store.share

    def _error(self, code: int, reason: str) -> None:
        self._answer(code, {"error": {"code": code, "message": reason, "errors": [{"reason": reason}]}})

    def _request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunked()
        split = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(split.query))
        if split.path == "/misbehave":
            expected = json.loads(body)
            self.store.misbehaves, self.store.share = expected["kind"], expected.get("share", 0.0)
            self._answer(200, {})
            return
        self.store.count += 1
        if self._due("503"):
            self._error(503, "backendError")
            return
        if self._due("slow"):
            time.sleep(SLOW_SECONDS)
        self._route(split.path, query, body)

    def _chunked(self) -> bytes:
        parts = []
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        return b"".join(parts)

    def _route(self, path: str, query: dict[str, str], body: bytes) -> None:
        store = self.store
        if path.startswith("/upload/"):
            self._upload(query, body)
        elif path.startswith("/batch/"):
            self._batch(body)
        elif match := re.fullmatch(r"/storage/v1/b/[^/]+/o/(.+)/(?:rewriteTo|copyTo)/b/[^/]+/o/(.+)", path):
            source, target = map(urllib.parse.unquote, match.groups())
            if source not in store.objects:
                self._error(404, "notFound")
                return
            resource = store.put(target, store.objects[source][0], query.get("ifGenerationMatch"))
            size = resource["size"] if resource else "0"
            response = {
                "kind": "storage#rewriteResponse",
                "done": True,
                "totalBytesRewritten": size,
                "objectSize": size,
            }
            self._answer(200, {**response, "resource": resource}) if resource else self._error(412, "conditionNotMet")
        elif match := re.fullmatch(r"(?:/download)?/storage/v1/b/[^/]+/o/(.+)", path):
            self._object(urllib.parse.unquote(match[1]), query, path.startswith("/download"))
        elif re.fullmatch(rf"/storage/v1/b/{BUCKET}/o/?", path):
            self._answer(200, store.listed(query))
        elif path == f"/storage/v1/b/{BUCKET}":
            self._answer(200, {"kind": "storage#bucket", "name": BUCKET, "id": BUCKET, "location": "US"})
        else:
            self._error(404, "notFound")

    def _object(self, name: str, query: dict[str, str], download: bool) -> None:
        store = self.store
        with store.lock:
            content, generation = store.objects.get(name, (b"", 0))
        if not generation:
            self._error(404, "notFound")
        elif self.command == "DELETE":
            with store.lock:
                store.objects.pop(name, None)
            self._answer(204)
        elif query.get("ifGenerationNotMatch") == str(generation):
            self._answer(304)
        elif download or query.get("alt") == "media":
            self._media(content, generation)
        else:
            self._answer(200, store.describe(name))

    def _media(self, content: bytes, generation: int) -> None:
        headers = {"x_goog_generation": str(generation), "x_goog_stored_content_length": str(len(content))}
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not match:
            self._answer(200, content, **headers)
            return
        first = int(match[1]) if match[1] else max(len(content) - int(match[2]), 0)
        last = min(int(match[2]), len(content) - 1) if match[1] and match[2] else len(content) - 1
        if first >= len(content):
            self._error(416, "requestedRangeNotSatisfiable")
            return
        self._answer(206, content[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(content)}", **headers)

    def _upload(self, query: dict[str, str], body: bytes) -> None:
        store, expected = self.store, query.get("ifGenerationMatch")
        if identity := query.get("upload_id"):
            name, content, target = store.uploads[identity]
            content += body
            if (self.headers.get("Content-Range") or "").endswith("/*"):
                self._answer(308, Range=f"bytes=0-{len(content) - 1}")
                return
            resource = store.put(name, bytes(content), target.get("ifGenerationMatch"))
        elif query["uploadType"] == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            identity = uuid.uuid4().hex
            store.uploads[identity] = (name, bytearray(), query)
            host = self.headers["Host"]
            place = f"http://{host}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&upload_id={identity}"
            self._answer(200, {}, Location=place)
            return
        elif query["uploadType"] == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            headers, content = email.message_from_bytes(head + body).get_payload()  # type: ignore[misc]
            name = json.loads(headers.get_payload(decode=True))["name"]
            resource = store.put(name, _last_part(body, self.headers["Content-Type"]), expected)
        else:
            resource = store.put(query["name"], body, expected)
        self._answer(200, resource) if resource else self._error(412, "conditionNotMet")

    def _batch(self, body: bytes) -> None:
        answers = []
        for name in re.findall(rb"DELETE \S*/o/(\S+) HTTP", body):
            with self.store.lock:
                was_there = self.store.objects.pop(urllib.parse.unquote(name.decode()), None)
            status = "204 No Content" if was_there else "404 Not Found"
            answers.append(f"--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n")
        self._answer(200, ("".join(answers) + "--x--\r\n").encode(), Content_Type="multipart/mixed; boundary=x")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _request


def _last_part(body: bytes, kind: str) -> bytes:
    """Returns the second part of a multipart body, to the byte."""
    match = re.search(r'boundary="?([^";]+)', kind)
    assert match
    part = body.split(b"--" + match[1].encode())[2]
    return re.sub(rb"\r?\n\Z", b"", re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1])


def serve() -> http.server.ThreadingHTTPServer:
    """Returns a server that answers while `serve_forever` runs."""
    handler = type("OwnHandler", (Handler,), {"store": Store()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that has gone
    return server


def environment(server: str) -> dict[str, str]:
    """Returns the variables that make clients ask a server, given as http://HOST:PORT, in the place of Google."""
    return {
        "STORAGE_EMULATOR_HOST": server,
        "TENSORSTORE_GCS_HTTP_URL": server,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "x",
        "GOOGLE_CLOUD_PROJECT": "x",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
