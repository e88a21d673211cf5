"""Jupyter servers for the measurements: ours, each peer alone, and one with no extension; eight GPUs that are a text file."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import websocket

__all__ = ["PEERS", "Client", "Server", "make_double", "peers_python", "serve"]

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
PEERS = ("jupyterlab-nvdashboard", "jupyter-resource-usage")
_MODULES = {
    "mlguard-nb": "mlguard_nb", "jupyterlab-nvdashboard": "jupyterlab_nvdashboard",
    "jupyter-resource-usage": "jupyter_resource_usage",
}  # fmt: skip


@dataclass(frozen=True)
class Server:
    """A running server with one extension (or none)."""

    name: str
    base: str
    token: str
    process: psutil.Process

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.base}/{path}{'&' if '?' in path else '?'}token={self.token}") as answer:
            return bytes(answer.read())

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.base}/{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def connect(self, path: str) -> websocket.WebSocket:
        return websocket.create_connection(f"{self.base.replace('http', 'ws', 1)}/{path}?token={self.token}")

    def cpu_share(self, seconds: float) -> float:
        """The share of one core that the server's own process used while `seconds` went by."""
        before, began = sum(self.process.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        return (sum(self.process.cpu_times()[:2]) - before) / (time.monotonic() - began)


class Client:
    """One page, as the extension's own page behaves: streams at 4 Hz, or asks every five seconds."""

    def __init__(self, server: Server) -> None:
        self.sockets: list[websocket.WebSocket] = []
        self._end = threading.Event()
        if server.name == "mlguard-nb":
            self._stream(server, "mlguard/stream", {"kind": "watch", "panel": True, "interval": None, "history": 600})
        elif server.name == "jupyterlab-nvdashboard":
            for panel in ("gpu_utilization", "gpu_usage", "gpu_resource"):
                self._stream(server, f"nvdashboard/{panel}", {"updateFrequency": 250, "isPaused": False})
        elif server.name == "jupyter-resource-usage":
            threading.Thread(target=self._ask, args=(server,), daemon=True).start()

    def _stream(self, server: Server, path: str, first: dict[str, Any]) -> None:
        stream = server.connect(path)
        stream.send(json.dumps(first))
        self.sockets.append(stream)
        threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _listen(self, stream: websocket.WebSocket) -> None:
        try:
            while not self._end.is_set():
                stream.recv()
        except (OSError, websocket.WebSocketException):
            return

    def _ask(self, server: Server) -> None:
        while not self._end.is_set():
            server.get("api/metrics/v1")
            self._end.wait(5.0)

    def close(self) -> None:
        self._end.set()
        for stream in self.sockets:
            stream.close()


def make_double(folder: Path) -> dict[str, str]:
    """The environment in which a process finds eight GPUs without a driver."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("the measurements with eight GPUs need a C compiler (cc) for the NVML double")
    source = ROOT / "tests" / "devices" / "nvml_double.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    state = folder / "state.txt"
    state.write_text(
        "".join(
            f"gpu GPU-{index} {80 * GIB} {(index + 1) * 9 * GIB} 97 61 312000 400000 NVIDIA A100-SXM4-80GB\n"
            for index in range(8)
        )
    )
    return {"LD_LIBRARY_PATH": str(folder), "MLGUARD_NVML_STATE": str(state)}


def peers_python() -> Path:
    """The interpreter of an environment of its own with the peers in it, made when it is not there."""
    python = ROOT / ".venvs" / "lab-peers" / "bin" / "python"
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".venvs" / "tools" / "bin" / "uv")
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])], check=True)
    wanted = ["jupyterlab>=4.2,<5", "ipykernel", *PEERS]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
    return python


@contextmanager
def serve(name: str, folder: Path, variables: dict[str, str]) -> Iterator[Server]:
    """A JupyterLab with the extension `name` alone; "none" has no extension at all."""
    python = str(peers_python()) if name in PEERS else sys.executable
    home = folder / name
    (home / "work").mkdir(parents=True)
    extensions = home / "path" / "labextensions"
    extensions.mkdir(parents=True)
    if name == "mlguard-nb":
        (extensions / name).symlink_to(ROOT / "mlguard_nb" / "labextension")
    no_news = home / "config/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    no_news.parent.mkdir(parents=True)
    no_news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))  # else it asks, and never stops
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    token = secrets.token_hex(16)
    enabled = {module: extension == name for extension, module in _MODULES.items()}
    environment = {
        **os.environ, **variables, "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PATH": str(home / "path"), "JUPYTER_PREFER_ENV_PATH": "0",
        "JUPYTER_CONFIG_PATH": str(ROOT / "jupyter-config") if name == "mlguard-nb" else "",
    }  # fmt: skip
    words = [
        python, "-m", "jupyterlab", "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={home / 'work'}",
        "--LabApp.expose_app_in_browser=True", f"--ServerApp.jpserver_extensions={enabled}",
    ]  # fmt: skip
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=home / "work", env=environment, stdout=log, stderr=subprocess.STDOUT)
    server = Server(name, f"http://127.0.0.1:{port}", token, psutil.Process(process.pid))
    try:
        _wait(server, process, home / "log")
        yield server
    finally:
        for child in [*server.process.children(recursive=True), server.process]:
            child.kill()
        process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            server.get("api")
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server with {server.name} did not start:\n{log.read_text()[-3000:]}")
