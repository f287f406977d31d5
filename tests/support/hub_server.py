"""The Hugging Face Hub on this machine: its protocol as huggingface_hub speaks it, without Xet.

Large files are LFS objects: /resolve/ redirects to where they lie, on another host, and states their SHA-256.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

import yaml

from tests.support.file_server import answering

TOKEN = "hf_of_jane"
OWNER = "jane"
_LARGE = re.compile(r".*\.(safetensors|onnx)")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """Commits in their order, each the whole content by paths; names of commits by branches and tags."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], message: str = "") -> str:
        """Adds a commit to main."""
        name = hashlib.sha1(f"{len(self.commits)} {message}".encode()).hexdigest()
        self.commits[name] = files
        self.messages.append(message)
        self.refs["main"] = name
        return name

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]]


@dataclass
class Hub:
    """A hub; TOKEN may read and write all of OWNER's.

    Attributes:
      cut: so many of the next downloads end half-way.
      wrong_byte: whether downloads differ from what their digests were made of.
      requests: "METHOD path" of each request.
      authorized: paths below /lfs/ that were asked for with a token, which must not leave the hub.
    """

    address: str = ""
    elsewhere: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    cut: int = 0
    wrong_byte: bool = False
    requests: list[str] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes], **fields) -> Repository:
        """Makes a repository with one commit."""
        repository = self.repositories[name] = Repository(**fields)
        repository.commit(files)
        return repository


class Refused(Exception):
    """An answer that is an error: status, X-Error-Code and X-Error-Message."""


_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_MODEL = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?")
_PREUPLOAD = re.compile(r"/api/models/([^/]+/[^/]+)/preupload/main")
_COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/commit/main")
_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Runs a hub in a `with` body."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(self._get)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self._answer(self._post)

        def do_PUT(self) -> None:
            content = self._body()
            hub.requests.append(f"PUT {self.path}")
            assert self.path == f"/lfs/{sha256(content)}"
            hub.objects[sha256(content)] = content
            self._send(200)

        def _answer(self, answer) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            try:
                answer()
            except Refused as refused:
                status, code, message = refused.args
                self._send(status, {"X-Error-Code": code, "X-Error-Message": message})

        def _get(self) -> None:
            if self.path.startswith("/lfs/"):
                if "Authorization" in self.headers:
                    hub.authorized.append(self.path)
                self._send(200, content=hub.objects[self.path.removeprefix("/lfs/")], faulty=True)
            elif match := _RESOLVE.fullmatch(self.path):
                self._resolve(*map(unquote, match.groups()))
            elif match := _MODEL.fullmatch(self.path):
                name, revision = match.groups()
                repository, commit = self._commit_of(name, revision or "main")
                files = [{"rfilename": path} for path in repository.commits[commit]]
                self._send_json({"id": name, "sha": commit, "private": repository.private, "siblings": files})
            else:
                raise Refused(404, "", f"nothing at {self.path}")

        def _resolve(self, name: str, revision: str, path: str) -> None:
            repository, commit = self._commit_of(name, revision)
            if repository.gated:
                raise Refused(403, "GatedRepo", "Access to this model is restricted")
            headers = {"X-Repo-Commit": commit}
            content = repository.commits[commit].get(path)
            if content is None:
                self._send(404, headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            elif _LARGE.fullmatch(path):
                digest = sha256(content)
                hub.objects[digest] = content
                link_headers = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
                self._send(302, headers | link_headers | {"Location": f"{hub.elsewhere}/lfs/{digest}"})
            else:
                self._send(200, headers | {"ETag": f'"{git_sha1(content)}"'}, content)

        def _post(self) -> None:
            body = self._body()
            if self.path == "/api/validate-yaml":
                head = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
                assert head is not None and isinstance(yaml.safe_load(head[1]), dict)
                self._send_json({"errors": [], "warnings": []})
            elif self.path == "/api/repos/create":
                fields = json.loads(body)
                name = f"{fields['organization']}/{fields['name']}"
                self._check_writer(name)
                if name in hub.repositories:
                    raise Refused(409, "", "You already created this model repo")
                hub.add(name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
                hub.repositories[name].private = fields.get("visibility") == "private"
                self._send_json({"url": f"{hub.address}/{name}"})
            elif match := _PREUPLOAD.fullmatch(self.path):
                repository, _ = self._commit_of(match[1], "main", writes=True)
                self._send_json({"files": [self._mode(repository, file["path"]) for file in json.loads(body)["files"]]})
            elif match := _BATCH.fullmatch(self.path):
                self._commit_of(match[1], "main", writes=True)
                self._send_json({"transfer": "basic", "objects": list(map(self._action, json.loads(body)["objects"]))})
            elif match := _COMMIT.fullmatch(self.path):
                self._commit(match[1], [json.loads(line) for line in body.splitlines()])
            else:
                raise Refused(404, "", f"nothing at {self.path}")

        def _mode(self, repository: Repository, path: str) -> dict:
            large, content = bool(_LARGE.fullmatch(path)), repository.files.get(path)
            oid = None if content is None else sha256(content) if large else git_sha1(content)
            return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

        def _action(self, request: dict) -> dict:
            upload = {"upload": {"href": f"{hub.elsewhere}/lfs/{request['oid']}", "header": {}}}
            return request | ({} if request["oid"] in hub.objects else {"actions": upload})

        def _commit(self, name: str, lines: list[dict]) -> None:
            repository, _ = self._commit_of(name, "main", writes=True)
            files = dict(repository.files)
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
                    assert len(files[value["path"]]) == value["size"]
                else:
                    assert line["key"] == "deletedFile"
                    del files[value["path"]]
            commit = repository.commit(files, lines[0]["value"]["summary"])
            self._send_json({"commitOid": commit, "commitUrl": f"{hub.address}/{name}/commit/{commit}"})

        def _commit_of(self, name: str, revision: str, writes: bool = False) -> tuple[Repository, str]:
            """The repository and the commit of a revision, for those who may see it."""
            token = self.headers.get("Authorization")
            if token not in (None, f"Bearer {TOKEN}"):
                raise Refused(401, "", "Invalid credentials in Authorization header")
            repository = hub.repositories.get(name)
            is_owner = token is not None and name.startswith(f"{OWNER}/")
            if repository is None or (repository.private and not is_owner):
                raise Refused(404 if token else 401, "RepoNotFound" if token else "", "Repository not found")
            if writes:
                self._check_writer(name)
            commit = repository.refs.get(revision, revision)
            if commit not in repository.commits:
                raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return repository, commit

        def _check_writer(self, name: str) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "", "Invalid username or password.")
            if not name.startswith(f"{OWNER}/"):
                raise Refused(403, "", "You don't have the rights to create a model under this namespace")

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send_json(self, value: object) -> None:
            self._send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

        def _send(self, status: int, headers: dict | None = None, content: bytes = b"", faulty: bool = False) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if faulty and hub.wrong_byte:
                content = bytes([content[0] ^ 1]) + content[1:]
            if faulty and hub.cut:
                hub.cut -= 1
                content = content[: len(content) // 2]
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as port:
        hub.address, hub.elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        yield hub
