"""push and pull, against a stand-in for the hub that speaks as much of its protocol as they need."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import acclimate as acc

Repos = dict[str, dict[str, bytes]]


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory: made, committed to, listed and read."""

    repos: Repos = {}

    def log_message(self, *_: Any) -> None: ...

    def _send(self, body: Any, code: int = 200, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(raw)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        words = self.path.strip("/").split("/")
        repo = "/".join(words[2:4])
        if self.headers.get("Authorization") != "Bearer secret":
            self._send({"error": "no token"}, 401)
        elif self.path == "/api/repos/create":
            said = json.loads(sent)
            self.repos.setdefault(f"{said.get('organization', 'me')}/{said['name']}", {})
            self._send({"url": f"http://{self.headers['Host']}/me/{said['name']}"})
        elif words[4] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(sent)["files"]]
            self._send({"files": [{**file, "shouldIgnore": False} for file in files]})
        else:
            for line in sent.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.repos[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._send(
                {"commitUrl": f"http://{self.headers['Host']}/{repo}/commit/abc", "commitOid": "abc", "hookOutput": ""}
            )

    def do_GET(self) -> None:
        words = self.path.split("?")[0].strip("/").split("/")
        repo = "/".join(words[2:4] if words[0] == "api" else words[:2])
        if repo not in self.repos:
            self._send({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif words[0] == "api":
            held = self.repos[repo].items()
            self._send([{"type": "file", "path": name, "oid": "abc", "size": len(raw)} for name, raw in held])
        else:
            held = self.repos[repo][words[-1]]
            self._send(held, ETag=f'"{hashlib.sha1(held).hexdigest()}"', X_Repo_Commit="abc")

    do_HEAD = do_GET


@pytest.fixture
def hub() -> Iterator[tuple[Repos, str]]:
    repos: Repos = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"repos": repos}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield repos, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def call(hub: tuple[Repos, str], folder: Path, *words: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: whether the hub may be asked at all is decided when its library is imported."""
    env = {
        **os.environ, "HF_ENDPOINT": hub[1], "HF_HUB_OFFLINE": "0", "HF_TOKEN": "secret", "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    program = [sys.executable, "-m", "acclimate", *map(str, words)]
    return subprocess.run(program, env=env, cwd=folder, capture_output=True, text=True, timeout=120)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


def test_a_file_and_a_folder_go_there_and_come_back(hub: tuple[Repos, str], tmp_path: Path) -> None:
    adapter = acc.attach(net(), acc.LoRA(rank=2), at="0", name="mine")
    folder = acc.write_peft(adapter, tmp_path / "theirs")
    (folder / "notes.txt").write_text("private")
    for path, names in ((adapter.save(tmp_path / "mine.safetensors"), {"mine.safetensors"}), (folder, None)):
        done = call(hub, tmp_path, "push", path, f"me/{path.stem}", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["commit"].endswith("/commit/abc")
        assert set(hub[0][f"me/{path.stem}"]) == (names or {"adapter_config.json", "adapter_model.safetensors"})
        hub[0][f"me/{path.stem}"] |= {"README.md": b"text", "sub/other.safetensors": b"x", "../up.json": b"{}"}
        back = call(hub, tmp_path, "pull", f"me/{path.stem}", tmp_path / "back" / path.stem, "--json")
        assert back.returncode == 0, back.stderr
        found = Path(json.loads(back.stdout)["adapter"])
        kept = {file.name for file in (tmp_path / "back" / path.stem).iterdir()}
        assert kept == (names or {"adapter_config.json", "adapter_model.safetensors"})
        assert acc.read_any(net(), found).parts[0].method == acc.LoRA(rank=2)
    assert not (tmp_path / "back" / "up.json").exists()


def test_a_mistake_is_a_sentence(hub: tuple[Repos, str], tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"no adapter")
    hub[0]["me/pickled"] = {"adapter_model.bin": b"\x80\x02", "config.json": b"{}"}
    for words, said in (
        (["push", "mine.safetensors", "me/mine"], "is no adapter of any of them"),
        (["pull", "me/nothing", "back"], "did not do what was asked of me/nothing: 404"),
        (["pull", "me/pickled", "back"], "it only has pickles, which could run code and are never loaded"),
        (["pull", "no name", "back"], "did not do what was asked of no name"),
    ):
        done = call(hub, tmp_path, *words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "back").exists() and "me/mine" not in hub[0]
