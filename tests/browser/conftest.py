"""A real JupyterLab with a token, a home of its own and the bundle of this tree, and a headless Chromium to look at it."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

GIB = 2**30
ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "tests" / "artefacts"
PICTURES = ROOT / "docs" / "pictures"
BUNDLE = ROOT / "mlguard_nb" / "labextension"
DARK = os.environ.get("MLGUARD_DARK") == "1"  # every test in the dark theme, its screenshots named NAME.dark.png
CHROMIUM = os.environ.get("MLGUARD_CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
NO_CHROMIUM = (
    "THE BROWSER TESTS DID NOT RUN: no Chromium here. On Debian: "
    "apt-get install -y --no-install-recommends chromium fonts-dejavu-core; elsewhere set MLGUARD_CHROMIUM."
)


@dataclass(frozen=True)
class Lab:
    """A running server: its address with a base_url of its own, its token, and the folder it shows."""

    base: str
    token: str
    root: Path
    log: Path
    launch: Callable[[], None]
    processes: list[subprocess.Popen[bytes]]

    def settings(self, **values: object) -> None:
        """Store what a user set for our plugin; a page that is opened afterwards knows it."""
        self._ask("PUT", "lab/api/settings/mlguard-nb:plugin", {"raw": json.dumps(values)})

    def end_kernels(self) -> None:
        """Shut down what other tests left running."""
        for session in json.loads(self._ask("GET", "api/sessions")):
            self._ask("DELETE", f"api/sessions/{session['id']}")

    def _ask(self, method: str, path: str, value: object = None) -> bytes:
        request = urllib.request.Request(
            f"{self.base}/{path}",
            data=None if value is None else json.dumps(value).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CHROMIUM is None:
        terminalreporter.write_line(NO_CHROMIUM, red=True, bold=True)


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The prebuilt extension, built again only where its sources changed."""
    sys.path.insert(0, str(ROOT))
    try:
        from hatch_build import inputs_digest
    finally:
        sys.path.remove(str(ROOT))
    stamp = BUNDLE / "build.sha256"
    if not stamp.is_file() or stamp.read_text().strip() != inputs_digest(ROOT):
        built = subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(ROOT / "build"), str(ROOT)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert built.returncode == 0, built.stdout[-4000:]
    return BUNDLE


@pytest.fixture(scope="package")
def make_lab(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A function that starts a server; `variables` go into its environment, `enabled=False` leaves our part out, and
    `within_permissions` binds it to the bits of files and folders also where root runs the tests.
    """
    started: list[subprocess.Popen[bytes]] = []

    def make(
        *, enabled: bool = True, application: str = "jupyterlab", within_permissions: bool = False, **variables: str
    ) -> Lab:
        home = tmp_path_factory.mktemp("home")
        root = home / "work"
        extensions = home / "path" / "labextensions"
        extensions.mkdir(parents=True)
        root.mkdir()
        (extensions / "mlguard-nb").symlink_to(bundle)
        quiet = home / "config/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
        if DARK:
            themes = quiet.with_name("themes.jupyterlab-settings")
            themes.write_text(json.dumps({"theme": "JupyterLab Dark"}))
        port, token, log = free_port(), secrets.token_hex(16), home / "lab.log"
        environment = {
            **os.environ,
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTER_PATH": str(home / "path"),
            "JUPYTER_CONFIG_PATH": str(ROOT / "jupyter-config") if enabled else "",
            "JUPYTER_PREFER_ENV_PATH": "0",
            **variables,
        }
        words = [
            "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--ServerApp.base_url=/user/ada/",
            "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
            f"--ServerApp.jpserver_extensions={{'mlguard_nb': {enabled}}}",
        ]  # fmt: skip
        base = f"http://127.0.0.1:{port}/user/ada"

        processes: list[subprocess.Popen[bytes]] = []

        def launch() -> None:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", application, *words],
                    cwd=root,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=give_up_reaching_everything if within_permissions else None,
                )
            started.append(process)
            processes.append(process)
            wait_until_it_answers(base, process, log)

        launch()
        return Lab(base, token, root, log, launch, processes)

    yield make
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in started:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def give_up_reaching_everything() -> None:
    """Drop root's capability to write where the permission bits do not let it; others have none (Linux)."""
    drop_from_bounding_set, dac_override = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0)


def wait_until_it_answers(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Connect until the server takes the connection: the kernel refuses at once while nobody listens."""
    for _ in range(1200):
        if process.poll() is not None:
            pytest.fail(f"JupyterLab ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(f"{base}/api", timeout=2):
                return
        except OSError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    pytest.fail(f"JupyterLab does not answer:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="package")
def lab(make_lab) -> Lab:  # type: ignore[no-untyped-def]
    return make_lab()


@pytest.fixture(scope="package")  # not the session: Playwright keeps an event loop running while it lives
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=60_000)  # on two loaded cores a kernel's answer takes longer than the usual 5 s
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


class Window:
    """A page in a context of its own, and every error that its scripts did not catch, with the stack.

    What a widget or a listener throws is caught by Lumino, and stands in the console.
    """

    def __init__(self, browser: Browser) -> None:
        self.errors: list[str] = []
        self.context = browser.new_context(viewport={"width": 1400, "height": 900})
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)


@pytest.fixture(scope="package")
def windows() -> dict[str, Window]:
    """Those that stay open from test to test, by server: to load JupyterLab costs more than most tests do in it."""
    return {}


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Let the fixtures of a test know whether it failed."""
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser, windows: dict[str, Window]) -> Iterator[Page]:
    """A page whose uncaught errors fail the test: the one that stays open on `lab` or `gpu_lab`, or, on other servers
    and where the test is marked with own_page, a new one.
    """
    servers = {"lab", "gpu_lab"}.intersection(request.fixturenames)
    name = "" if request.node.get_closest_marker("own_page") else "".join(servers)
    window = windows.pop(name, None) or Window(browser)
    labs: list[Lab] = [request.getfixturevalue(server) for server in servers]
    yield window.page
    failed = request.node.stash.get(_FAILED, False)
    if failed:  # what it left running must not fail the next test, or its own next try
        for one in labs:
            one.end_kernels()
    if name and not failed and not window.page.locator("dialog[open], .jp-Dialog").count():
        windows[name] = window
    else:
        window.context.close()
    ours = [error for error in window.errors if "/mlguard-nb/static/" in error]
    window.errors.clear()
    assert ours == []


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 without a driver."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT TESTED: the NVML double needs a C compiler (cc), and there is none")
    folder = tmp_path_factory.mktemp("nvml")
    source = ROOT / "tests/devices/nvml_double.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


class Gpus:
    """The state of the double: its GPUs stand in a file that is read again on every call."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def are(self, *used_gib: float, lost: bool = False, processes: dict[int, float | None] | None = None) -> None:
        """Cards of 80 GiB with so much in use; `processes` hold theirs on the first one (None: it does not tell)."""
        lines = [
            f"gpu GPU-{index:08d}-0000-0000-0000-000000000000 {80 * GIB} {int(used * GIB)} 97 61 312000 400000 "
            "NVIDIA A100-SXM4-80GB"
            for index, used in enumerate(used_gib)
        ]
        for pid, held in (processes or {}).items():
            lines.append(f"process 0 {pid} {-1 if held is None else int(held * GIB)}")
        if lost:
            lines.append("error nvmlDeviceGetMemoryInfo 15 -1")
        self.say(*lines)

    def say(self, *lines: str) -> None:
        """The state word for word, as tests/devices/nvml_double.c reads it."""
        self.state.with_suffix(".new").write_text("\n".join(lines) + "\n")
        self.state.with_suffix(".new").replace(self.state)

    def unload(self) -> None:
        """The kernel module is gone: the driver is "not loaded" until a state is written again."""
        self.state.unlink()


@pytest.fixture(scope="session")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> Gpus:
    found = Gpus(tmp_path_factory.mktemp("gpus") / "state.txt")
    found.are(16.3)
    return found


@pytest.fixture(scope="package")
def gpu_lab(make_lab: Any, gpus: Gpus, nvml_library: Path) -> Lab:
    return make_lab(LD_LIBRARY_PATH=str(nvml_library), MLGUARD_NVML_STATE=str(gpus.state))


def keep(page: Page, name: str, *, picture: str | None = None, of: Locator | None = None) -> None:
    """A screenshot among the artefacts; with MLGUARD_PICTURES=1 `of` becomes the documentation's `picture` as well."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(ARTEFACTS / f"{name}{'.dark' if DARK else ''}.png"))
    if picture is not None and os.environ.get("MLGUARD_PICTURES") == "1":
        PICTURES.mkdir(parents=True, exist_ok=True)
        (of or page).screenshot(path=str(PICTURES / f"{picture}.png"))
