"""A stand-in for a model hub on this machine: the few requests with which huggingface_hub uploads and downloads."""

import base64
import hashlib
import http.server
import json
import threading
from contextlib import contextmanager
from urllib.parse import unquote


class Hub(http.server.ThreadingHTTPServer):
    """Keeps repositories in memory.

    Attributes:
        repositories: {"user/name": {file: content}}.
        asked: every request, as "GET /path".
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_):
        pass

    def send(self, content: bytes | dict | list, code: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def missing(self, what: str) -> None:
        self.send({"error": "not found"}, 404, X_Error_Code=what)

    def commit(self, repository: str) -> str:
        files = self.server.repositories[repository]
        return hashlib.sha1(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = unquote(self.path.partition("?")[0]).strip("/").split("/")
        repository = "/".join(path[2:4] if path[:2] == ["api", "models"] else path[:2])
        if repository not in self.server.repositories:
            return self.missing("RepoNotFound")
        files, commit = self.server.repositories[repository], self.commit(repository)
        if path[:2] == ["api", "models"]:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            if "tree" in path:
                tree = [{"type": "file", "path": k, "size": len(v), "oid": _oid(v)} for k, v in files.items()]
                return self.send(tree)
            return self.send({"id": repository, "sha": commit, "siblings": siblings, "private": False, "tags": []})
        name = "/".join(path[4:])  # user/name/resolve/revision/file
        if name not in files:
            return self.missing("EntryNotFound")
        return self.send(files[name], X_Repo_Commit=commit, ETag=f'"{_oid(files[name])}"')

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        body, path = self.read(), self.path.partition("?")[0].strip("/").split("/")
        if path == ["api", "repos", "create"]:
            asked = json.loads(body)
            repository = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.repositories.setdefault(repository, {})
            return self.send({"url": f"{self.server.address}/{repository}", "id": repository})
        if path == ["api", "validate-yaml"]:
            return self.send({"errors": [], "warnings": []})
        repository = "/".join(path[2:4])
        if path[4] == "preupload":
            asked = json.loads(body)["files"]
            plain = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]
            return self.send({"files": plain})
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                content = base64.b64decode(one["value"]["content"])
                self.server.repositories[repository][one["value"]["path"]] = content
        address = f"{self.server.address}/{repository}/commit/{self.commit(repository)}"
        return self.send({"success": True, "commitOid": self.commit(repository), "commitUrl": address})


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub():
    """The server, answering."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
