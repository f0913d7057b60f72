"""The Hugging Face Hub's network edge, as far as fetching and publishing a repository of models go."""

import base64
import hashlib
import http.server
import json
import threading
import time
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

TOKEN = "hf_" + "abcdefgh" * 4
PUBLIC, PRIVATE = "me/planner", "me/secret"


@contextmanager
def served(monkeypatch, folder):
    """A server, and a client that knows no other, caches in `folder / "cache"` and has no token."""
    server = HubServer()
    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    settings = {
        "ENDPOINT": server.url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "DOWNLOAD_CHUNK_SIZE": 8,
        "HF_HUB_CACHE": str(folder / "cache"), "HF_TOKEN_PATH": str(folder / "token"),
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.stop()  # once more where a test has


def content(folder):
    """All files of a folder by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class HubServer(http.server.ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        repos: of each, its commits by revision: a branch, a tag or a commit.
        large: files from that size on are uploaded by LFS.
        cut: files whose first answer breaks off half-way; failing: files that are answered by an error, once
            all others were asked for.
        requests: method and path of all requests, with the range that was asked for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos = {}
        self.large = 2**40
        self.stored = {}
        self.cut, self.failing = set(), set()
        self.requests = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()

    def commit(self, repo, files, *revisions):
        """Make files the content of a repository; returns the commit."""
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.repos.setdefault(repo, {}).update(dict.fromkeys((sha, "main", *revisions), (sha, dict(files))))
        return sha

    def files(self, repo):
        return self.repos[repo]["main"][1]

    def fetched(self):
        """The files whose content was sent."""
        gets = (path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path)
        return sorted(path.split("/", 5)[5] for path in gets)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status=200, content=b"", **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content_Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, code):
        self.answer(status, {"error": code}, X_Error_Code=code)

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers.get("Range")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", TOKEN):
            message = "Invalid credentials in Authorization header"
            self.answer(401, {"error": message}, X_Error_Message=message)
        elif self.command in ("POST", "PUT"):
            self.take(body, token)
        else:
            self.show(unquote(urlsplit(self.path).path).split("/")[1:], token)

    do_HEAD = do_POST = do_PUT = do_GET

    def show(self, parts, token):
        if parts[:2] == ["api", "models"]:
            owner, name, what, revision, *path = [*parts[2:], "revision", "main"][: max(4, len(parts) - 2)]
        elif len(parts) > 4 and parts[2] == "resolve":
            owner, name, what, revision, *path = parts
        else:
            return self.refuse(404, "NotFound")
        repo = self.server.repos.get(f"{owner}/{name}")
        if repo is None or (f"{owner}/{name}" == PRIVATE and not token):
            return self.refuse(401, "RepoNotFound")
        if revision not in repo:
            return self.refuse(404, "RevisionNotFound")
        sha, files = repo[revision]
        if what == "revision":
            return self.answer(content={"id": f"{owner}/{name}", "sha": sha, "tags": []})
        if what == "resolve":
            return self.send_file("/".join(path), sha, files)
        listed = [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in files.items()
        ]
        return self.answer(content=listed)

    def send_file(self, path, sha, files):
        content = files.get(path)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        if self.command == "GET" and path in self.server.failing:
            while len(self.server.fetched()) < len(files):  # so that it is always the last
                time.sleep(0.01)
            return self.refuse(500, "Unavailable")
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X_Repo_Commit": sha}
        if self.command == "GET" and path in self.server.cut:
            self.server.cut.remove(path)
            self.answer(content=content[: len(content) // 2], **headers, Content_Length=len(content))
            self.close_connection = True
            return None
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], **headers)
        return self.answer(content=content, **headers)

    def take(self, body, token):
        server, path = self.server, urlsplit(self.path).path
        if path.startswith("/lfs/"):  # its address is the permission
            server.stored[path.removeprefix("/lfs/")] = body
            return self.answer()
        if not token:
            return self.refuse(401, "Unauthorized")
        if path == "/api/validate-yaml":
            return self.answer(content={})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in server.repos
            server.repos.setdefault(name, {"main": ("0" * 40, {})})
            return self.answer(409 if known else 200, {"url": f"{server.url}/{name}"})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**x, "actions": {"upload": {"href": f"{server.url}/lfs/{x['oid']}"}}}
                for x in json.loads(body)["objects"]
            ]
            return self.answer(content={"objects": objects, "transfer": "basic"})
        if "/preupload/" in path:
            modes = [
                {
                    "path": file["path"], "shouldIgnore": False,
                    "uploadMode": "lfs" if file["size"] >= server.large else "regular",
                }
                for file in json.loads(body)["files"]
            ]  # fmt: skip
            return self.answer(content={"files": modes})
        return self.take_commit(path, body)

    def take_commit(self, path, body):
        """Apply the operations of a commit, one a line."""
        repo = "/".join(path.split("/")[3:5])
        files = dict(self.server.files(repo))
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.stored[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = self.server.commit(repo, files)
        self.answer(content={"commitUrl": f"{self.server.url}/{repo}/commit/{sha}", "commitOid": sha})
