"""A small server that speaks as much of the Hugging Face hub's protocol as pushing and pulling a model needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import yaml

TOKEN = "hf_right"


class Hub(ThreadingHTTPServer):
    """Repositories in memory: files by name, of which large ones go through LFS."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.messages: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            name = "{organization}/{name}".format(**json.loads(body))
            self.server.repositories.setdefault(name, {})
            return self.answer(200, {"url": f"{self.server.url}/{name}", "id": name})
        path = self.path.split("?")[0]
        if path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            front = yaml.safe_load(card.split("---")[1]) if card.startswith("---\n") else None
            errors = [] if isinstance(front, dict) else [{"message": "no front matter"}]
            return self.answer(200, {"errors": errors, "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+/.+)/preupload/main", path):
            files = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".pack") else "regular",
                 "shouldIgnore": False, "oid": None}
                for f in json.loads(body)["files"]
            ]  # fmt: skip
            return self.answer(200, {"files": files})
        if re.fullmatch(r"/(.+/.+)\.git/info/lfs/objects/batch", path):
            objects = [
                {**each, "authenticated": True, "actions": {"upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+/.+)/commit/main", path):
            return self.commit(found[1], [json.loads(line) for line in body.splitlines()])
        return self.answer(404, {"error": path})

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.server.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                repository[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository[value["path"]] = self.server.large[value["oid"]]
        self.answer(200, {"commitUrl": f"{self.server.url}/{name}/commit/{self.revision(name)}",
                          "commitOid": self.revision(name), "pullRequestUrl": None, "success": True})  # fmt: skip

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == oid
        self.server.large[oid] = data
        self.answer(200, {})

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/(.+/[^/]+)/(tree|revision)/([^/]+)", path):
            files = self.server.repositories.get(found[1])
            if files is None or found[3] not in ("main", self.revision(found[1])):
                return self.missing("RepoNotFound" if files is None else "RevisionNotFound")
            if found[2] == "tree":
                entries = [{"type": "file", "oid": "0" * 40, "size": len(d), "path": n} for n, d in files.items()]
                return self.answer(200, entries)
            siblings = [{"rfilename": name} for name in files]
            return self.answer(200, {"id": found[1], "sha": self.revision(found[1]), "siblings": siblings})
        if found := re.fullmatch(r"/(.+/[^/]+)/resolve/[^/]+/(.+)", path):
            files = self.server.repositories.get(found[1])
            if files is None:
                return self.missing("RepoNotFound")
            if found[2] not in files:
                return self.missing("EntryNotFound")
            headers = {"X-Repo-Commit": self.revision(found[1]), "Accept-Ranges": "bytes"}
            digest = hashlib.sha256(files[found[2]]).hexdigest()
            return self.answer(200, files[found[2]], headers | {"ETag": f'"{digest}"'})
        return self.answer(404, {"error": path})

    do_HEAD = do_GET

    def revision(self, name: str) -> str:
        files = self.server.repositories[name]
        return hashlib.sha1(b"".join(sorted(n.encode() + d for n, d in files.items()))).hexdigest()

    def missing(self, code: str) -> None:
        self.answer(404, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/octet-stream" if content is data else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers while the block runs."""
    hub = Hub()
    thread = Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
