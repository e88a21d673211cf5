"""JupyterLab: size of the bundle, what a server and a page pay, and whether memory stays flat; beside two peers.

Within `make bench` a page streams for one minute at the end. Page and server each keep one point a second for an hour, so
only more than that can show memory go flat: `python -m benchmarks.lab --minutes 85` streams for that long, and does
nothing else.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.lab_servers import PEERS, ROOT, Client, Server, make_double, peers_python, serve

__all__ = ["run"]

OURS, NONE = "mlguard-nb", "none"
BUDGETS = {
    "bundle": "60 kB", "0 clients": "0.1 %", "1 client": "1 %", "10 clients": "-", "status": "+5 ms", "page": "3 %",
    "memory": "flat",
}  # fmt: skip
_CPU_SECONDS, _PROBES, _PAGE_SECONDS = 12.0, 200, 15.0
_FULL_MINUTES = 62.0  # what page and server keep reaches an hour back; from here on each new point replaces an old one

# The page's socket hears 600 points of eight GPUs as its history; everything after that is the server's own.
_WITH_HISTORY = """
const Native = window.WebSocket;
window.WebSocket = class extends Native {
  get onmessage() { return super.onmessage; }
  set onmessage(listen) {
    super.onmessage = event => {
      const isHistory = typeof event.data === 'string' && event.data.startsWith('{"kind":"history"');
      listen(isHistory ? new MessageEvent('message', { data: JSON.stringify(history()) }) : event);
    };
  }
};
function history() {
  const now = Date.now() / 1000;
  const gpus = [...Array(8).keys()].map(n => ({ uuid: `GPU-${n}`, used: (n + 1) * 9 * 2 ** 30, utilisation: 0.97 }));
  const point = n => ({ wall: now - 600 + n, ram: 5 * 2 ** 30, gpus, kernels: [] });
  return { kind: 'history', points: [...Array(600).keys()].map(point) };
}
"""


def run(results: Path) -> str:
    """Measure everything and return the table; what cannot be measured here says why."""
    lines = [f"{'what':44} {OURS:>12} {'budget':>8}  {'  '.join(PEERS)}"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        double = make_double(folder / "nvml")
        lines.append(_row("bundle, gzipped", _bundle_text(OURS), BUDGETS["bundle"], *map(_bundle_text, PEERS)))
        lines += _server_cpu(folder / "cpu", double)
        lines += _status(folder / "status", double)
        lines += _page(folder / "page", double, results)
    return "\n".join(lines)


def stream(results: Path, minutes: float) -> str:
    """What a page with its panel open and its server hold while `minutes` of streaming go by."""
    chromium = _find_chromium()
    if chromium is None:
        return _row("memory of the page", "no Chromium")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with serve(OURS, folder / "page", make_double(folder / "nvml")) as server, _chromium(chromium) as browser:
            return "\n".join(_memory(_open(browser, server, panel=True), server, minutes, results))


def _row(what: str, ours: str, budget: str = "-", *peers: str) -> str:
    return f"{what:44} {ours:>12} {budget:>8}  " + "  ".join(
        f"{peer:>{len(name)}}" for peer, name in zip(peers, PEERS, strict=False)
    )


# The bundle.


def _bundle_text(name: str) -> str:
    share = peers_python().parents[1] / "share" / "jupyter" / "labextensions"
    folder = {
        OURS: ROOT / "mlguard_nb" / "labextension",
        "jupyterlab-nvdashboard": share / "jupyterlab-nvdashboard",
        "jupyter-resource-usage": share / "@jupyter-server" / "resource-usage",
    }[name]
    sizes = [len(gzip.compress(file.read_bytes())) for file in (folder / "static").glob("*.js")]
    return f"{sum(sizes) / 1000:.1f} kB" if sizes else "not found"


# What the server pays.


def _server_cpu(folder: Path, double: dict[str, str]) -> list[str]:
    shares: dict[str, list[str]] = {}
    for name in (NONE, OURS, *PEERS):
        shares[name] = []
        with serve(name, folder, double) as server:
            server.cpu_share(3.0)  # what the start leaves to do
            for clients in (0, 1, 10):
                pages = [Client(server) for _ in range(clients if name != NONE else 0)]
                time.sleep(1.0)
                shares[name].append(f"{100 * server.cpu_share(_CPU_SECONDS):.2f} %")
                for page in pages:
                    page.close()
    counts = ("0 clients", "1 client", "10 clients")
    rows = [
        _row(
            f"server, one core, {count}", shares[OURS][place], BUDGETS[count], *(shares[peer][place] for peer in PEERS)
        )
        for place, count in enumerate(counts)
    ]
    return [*rows, _row("  the same without any extension", shares[NONE][0])]


def _status(folder: Path, double: dict[str, str]) -> list[str]:
    """Both servers run side by side and are asked in turn, so that whatever else the machine does hits both alike."""
    found: dict[str, float] = {}
    for name in (OURS, *PEERS):
        with serve(NONE, folder / name / "base", double) as base, serve(name, folder / name, double) as server:
            both = {"base": base, name: server}
            busy = [_stream_kernels(one, 5) for one in both.values()]
            page = Client(server)
            waits: dict[str, list[float]] = {key: [] for key in both}
            for probe in range(_PROBES + 20):
                for key, one in both.items():
                    began = time.perf_counter()
                    one.get("api/status")
                    if probe >= 20:
                        waits[key].append(time.perf_counter() - began)
                time.sleep(0.02)
            page.close()
            for sockets in busy:
                for one_socket in sockets:
                    one_socket.close()
        p95 = {key: 1000 * statistics.quantiles(values, n=20)[-1] for key, values in waits.items()}
        found[name] = p95[name] - p95["base"]
        found[f"{name} base"] = p95["base"]
    texts = {name: f"{found[name]:+.1f} ms" for name in (OURS, *PEERS)}
    bases = [f"{found[f'{name} base']:.1f} ms" for name in (OURS, *PEERS)]
    return [
        _row(
            "/api/status p95, 8 GPUs, 5 kernels, over base",
            texts[OURS],
            BUDGETS["status"],
            *(texts[peer] for peer in PEERS),
        ),
        _row("  its base: no extension, same moment", bases[0], "-", *bases[1:]),
    ]


def _stream_kernels(server: Server, count: int) -> list[Any]:
    """Kernels that print ten lines a second, each with a listener."""
    code = "import time\nwhile True:\n    print('x' * 80, flush=True)\n    time.sleep(0.1)"
    sockets = []
    for _ in range(count):
        kernel = server.post("api/kernels", {"name": "python3"})
        channel = server.connect(f"api/kernels/{kernel['id']}/channels")
        header = {
            "msg_id": kernel["id"],
            "username": "",
            "session": kernel["id"],
            "msg_type": "execute_request",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        channel.send(json.dumps(message))
        while "xxxx" not in str(channel.recv()):
            continue
        sockets.append(channel)
    return sockets


# What the page pays.


def _page(folder: Path, double: dict[str, str], results: Path) -> list[str]:
    chromium = _find_chromium()
    if chromium is None:
        return [_row("page, main thread", "no Chromium"), _row("memory of the page", "no Chromium")]
    shares = []
    with serve(OURS, folder, double) as server, _chromium(chromium) as browser:
        for panel in (False, True):
            page = _open(browser, server, panel)
            browser.start_tracing(page=page, categories=["devtools.timeline", "toplevel"])
            page.wait_for_timeout(1000 * _PAGE_SECONDS)
            shares.append(_main_thread(json.loads(browser.stop_tracing())))
            if not panel:
                page.context.close()
        memory = _memory(page, server, 1.0, results)
    return [
        _row("page, main thread: panel at 4 Hz, 8 GPUs x 600", f"{100 * shares[1]:.1f} %", BUDGETS["page"]),
        _row("  the same page with the panel closed", f"{100 * shares[0]:.1f} %"),
        *memory,
    ]


def _find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def _chromium(path: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def _open(browser: Any, server: Server, panel: bool) -> Any:
    """JupyterLab with the panel on screen (or closed), ten minutes of eight GPUs in its history."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.add_init_script(_WITH_HISTORY)
    page.goto(f"{server.base}/lab?token={server.token}")
    page.wait_for_selector(".mlguard-Status:has-text('GPU')", timeout=120_000)
    if panel:
        page.click(".mlguard-Status")
        page.wait_for_selector("#mlguard-panel .mlguard-Chart")
    page.wait_for_timeout(5000)  # what JupyterLab itself does after its start
    page.wait_for_selector(".Toastify__toast", state="detached")  # that a GPU is nearly full is told once, and fades
    return page


def _main_thread(trace: dict[str, Any]) -> float:
    """The share of the time for which the page's main thread had a processor: what else the machine does is left out."""
    events = trace["traceEvents"]
    main = {
        (one["pid"], one["tid"])
        for one in events
        if one.get("name") == "thread_name" and one["args"].get("name") == "CrRendererMain"
    }
    shares = []
    for thread in main:
        tasks = [
            one
            for one in events
            if one.get("ph") == "X" and one["name"].endswith("RunTask") and (one["pid"], one["tid"]) == thread
        ]
        if tasks:
            seconds = max(one["ts"] + one.get("dur", 0) for one in tasks) - min(one["ts"] for one in tasks)
            shares.append(sum(one.get("tdur", 0) for one in tasks) / max(1, seconds))
    return max(shares, default=float("nan"))


def _memory(page: Any, server: Server, minutes: float, results: Path) -> list[str]:
    """What page and server hold after collections while `minutes` go by with the panel open.

    Growth counts from the moment at which an hour of points is full, or in a shorter run from the second moment on.
    """
    session = page.context.new_cdp_session(page)
    seen: list[tuple[float, float, float]] = []
    began = time.monotonic()
    intervals = max(5, round(minutes / 2))
    with (results / "lab_memory.txt").open("w") as table:
        for moment in range(intervals + 1):
            page.wait_for_timeout(max(0.0, 1000 * (60 * minutes * moment / intervals - (time.monotonic() - began))))
            for _ in range(3):
                session.send("HeapProfiler.collectGarbage")
            heap = session.send("Runtime.getHeapUsage")["usedSize"] / 2**20
            nodes = session.send("Memory.getDOMCounters")["nodes"]
            at, rss = (time.monotonic() - began) / 60, server.process.memory_info().rss / 2**20
            seen.append((at, heap, rss))
            print(f"{at:.2f} min: page {heap:.2f} MiB, {nodes} nodes, server {rss:.1f} MiB", file=table, flush=True)
    full = next((one for one in seen if one[0] >= _FULL_MINUTES), seen[1])
    since = f"min {full[0]:.0f} to {seen[-1][0]:.0f} of streaming"
    return [
        _row(f"page's heap, {since}", f"{seen[-1][1] - full[1]:+.2f} MiB", BUDGETS["memory"]),
        _row(f"server's memory, {since}", f"{seen[-1][2] - full[2]:+.2f} MiB", BUDGETS["memory"]),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__)
    parser.add_argument("--minutes", type=float, help="only stream, for so long")
    where = Path(__file__).with_name("results")
    where.mkdir(exist_ok=True)
    asked = parser.parse_args().minutes
    print(run(where) if asked is None else stream(where, asked))
