"""Two hubs on 127.0.0.1, as much of each as its client asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repository:
    """What a hub has under one id: revision -> file name -> content."""

    revisions: dict[str, dict[str, bytes]]
    status: int = 200
    """Answered to every question about it when it is not 200."""


@dataclass
class FakeHub:
    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Paths asked for, oldest first."""


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


@contextmanager
def serve_hub(kind: str) -> Iterator[FakeHub]:
    """kind: "ms" or "hf"."""
    answer = _answer_ms if kind == "ms" else _answer_hf

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            hub.requests.append(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            status, headers, body = answer(hub, unquote(url.path), query)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Answer = tuple[int, dict[str, str], bytes]


def _json(status: int, data: Any, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(data).encode()


def _answer_hf(hub: FakeHub, path: str, query: dict[str, str]) -> Answer:
    """/api/models/{owner}/{name}/(revision|tree)/{revision} and /{owner}/{name}/resolve/{revision}/{file}."""
    parts = path.strip("/").split("/")
    api = parts[:2] == ["api", "models"]
    owner_name, rest = ("/".join(parts[2:4]), parts[4:]) if api else ("/".join(parts[:2]), parts[2:])
    repository = hub.repositories.get(owner_name)
    if repository is None:
        return _json(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
    if repository.status != 200:
        code = {403: "GatedRepo"}.get(repository.status, "")
        return _json(repository.status, {"error": "refused"}, **({"X-Error-Code": code} if code else {}))
    revision = rest[1] if len(rest) > 1 else "main"
    commits = {commit_of(files): files for files in repository.revisions.values()}
    files = repository.revisions.get(revision) or commits.get(revision)
    if files is None:
        return _json(404, {"error": "Revision not found"}, **{"X-Error-Code": "RevisionNotFound"})
    commit = commit_of(files)
    etags = {name: hashlib.sha1(content).hexdigest() for name, content in files.items()}
    if api and rest[:1] == ["tree"]:
        return _json(
            200,
            [
                {"type": "file", "path": name, "size": len(content), "oid": etags[name]}
                for name, content in files.items()
            ],
        )
    if api:
        siblings = [{"rfilename": name} for name in files]
        return _json(200, {"id": owner_name, "modelId": owner_name, "sha": commit, "siblings": siblings})
    name = "/".join(rest[2:])
    return 200, {"ETag": f'"{etags[name]}"', "X-Repo-Commit": commit}, files[name]


def _answer_ms(hub: FakeHub, path: str, query: dict[str, str]) -> Answer:
    """/api/v1/models/{owner}/{name}/repo/files?Revision= and .../repo?Revision=&FilePath=."""
    parts = path.strip("/").split("/")
    repository = hub.repositories.get("/".join(parts[3:5]))
    if parts[:3] != ["api", "v1", "models"]:
        return _json(404, {"Code": 404, "Message": "no such page"})
    if repository is not None and repository.status != 200:
        return _json(repository.status, {"Code": repository.status, "Message": "refused"})
    files = repository.revisions.get(query.get("Revision", "master")) if repository else None
    if files is None:
        return _json(404, {"Code": 10010205001, "Message": "模型不存在", "Success": False})
    if parts[5:] == ["repo", "files"]:
        entries = [
            {
                "Path": name,
                "Name": name,
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in files.items()
        ]
        return _json(200, {"Code": 200, "Data": {"Files": entries}, "Success": True})
    content = files[query["FilePath"]]
    return 200, {"Content-Type": "application/octet-stream"}, content
