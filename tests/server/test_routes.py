"""What the routes promise: nobody without a token, nothing outside the folder, null with a reason for what is not known."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from mlguard_nb import devices
from mlguard_nb.devices.readings import GpuProcess, Unknown
from mlguard_nb.server.configuration import MlguardExport
from mlguard_nb.server.converter import Bounds, lines_of
from mlguard_nb.server.exporting import read_request
from mlguard_nb.testing import FakeDevices, fake_gpu
from tests.server.conftest import GIB

ROUTES = ("sample", "directive", "export", "stream")


@pytest.mark.parametrize("route", ROUTES)
async def test_no_route_serves_a_stranger(
    jp_serverapp: Any, http_server_client: Any, jp_base_url: str, route: str
) -> None:
    """Without a token every route answers 403, the stream before its upgrade."""
    method = "POST" if route in ("directive", "export") else "GET"
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(
            f"{jp_base_url}mlguard/{route}", method=method, body="{}" if method == "POST" else None
        )
    assert refused.value.code == 403


@pytest.mark.parametrize("route", ["directive", "export"])
async def test_a_post_without_the_xsrf_token_is_refused(
    jp_serverapp: Any, http_server_client: Any, jp_base_url: str, route: str
) -> None:
    """A browser that is logged in by cookie cannot be made to post by another page."""
    token = jp_serverapp.identity_provider.token
    login = await http_server_client.fetch(f"{jp_base_url}api/status?token={token}")
    cookies = "; ".join(text.split(";")[0] for text in login.headers.get_list("Set-Cookie") if "username" in text)
    seen = await http_server_client.fetch(f"{jp_base_url}api/status", headers={"Cookie": cookies})
    assert seen.code == 200, "the cookie alone logs in"
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(
            f"{jp_base_url}mlguard/{route}", method="POST", body="{}", headers={"Cookie": cookies}
        )
    assert refused.value.code == 403
    assert "_xsrf" in json.loads(refused.value.response.body)["message"]


@pytest.mark.parametrize("route", ROUTES)
async def test_a_user_who_may_not_is_refused(
    jp_serverapp: Any, http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str], route: str
) -> None:
    """Logged in is not enough: what the server's authorizer denies is 403, the stream before its upgrade."""
    asked: list[tuple[str, str]] = []

    class Deny:
        def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
            asked.append((action, resource))
            return False

    jp_serverapp.web_app.settings["authorizer"] = Deny()
    method = "POST" if route in ("directive", "export") else "GET"
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} if route == "stream" else {}  # fmt: skip
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(
            f"{jp_base_url}mlguard/{route}",
            method=method,
            body="{}" if method == "POST" else None,
            headers={**jp_auth_header, **upgrade},
        )
    assert refused.value.code == 403
    assert asked == [("write" if method == "POST" else "read", "mlguard")]


async def test_a_stream_from_another_origin_is_refused(
    http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str], jp_serverapp: Any
) -> None:
    """A page of another site that carries the cookie cannot listen."""
    token = jp_serverapp.identity_provider.token
    login = await http_server_client.fetch(f"{jp_base_url}api/status?token={token}")
    cookies = "; ".join(text.split(";")[0] for text in login.headers.get_list("Set-Cookie") if "username" in text)
    headers = {"Cookie": cookies, "Origin": "https://elsewhere.example", "Connection": "Upgrade", "Upgrade": "websocket",
               "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(f"{jp_base_url}mlguard/stream", headers=headers)
    assert refused.value.code == 403


@pytest.mark.parametrize("route", ["directive", "export"])
@pytest.mark.parametrize(
    ("body", "status"), [("x" * 1_000_001, 413), ("[" * 900_000, 400), ('{"lines": ', 400), ("null", 400)]
)
async def test_a_body_that_is_no_request_is_refused(jp_fetch: Any, route: str, body: str, status: int) -> None:
    """Too long, nested too deeply, cut off, or nothing at all: an answer, never a crash."""
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("mlguard", route, method="POST", body=body)
    assert refused.value.code == status


async def test_a_sample_tells_what_it_knows_and_why_not_the_rest(jp_fetch: Any, machine: FakeDevices) -> None:
    """Numbers are bytes; what the device does not report is null with its reason, never 0."""
    answer = json.loads((await jp_fetch("mlguard", "sample")).body)
    sample = answer["sample"]
    assert sample["ram"] == {
        "used": {"value": 5 * GIB, "reason": None},
        "limit": {"value": 16 * GIB, "reason": None},
        "source": "container",
    }
    gpu = sample["gpus"][0]
    assert gpu["used"]["value"] == 10 * GIB
    assert gpu["power"] == {"value": None, "reason": "not read yet"}


async def test_a_machine_without_a_driver_says_so(jp_fetch: Any, machine: FakeDevices) -> None:
    machine.gpus_now = Unknown("no NVIDIA driver here")
    sample = json.loads((await jp_fetch("mlguard", "sample")).body)["sample"]
    assert sample["gpus"] == []
    assert sample["gpus_reason"] == "no NVIDIA driver here"


async def test_the_ledger_names_the_running_kernel(jp_fetch: Any, machine: FakeDevices) -> None:
    """A kernel appears with its process, and the rows add up to the memory in use."""
    started = json.loads((await jp_fetch("api", "kernels", method="POST", body='{"name": "python3"}')).body)
    try:
        holders = json.loads((await jp_fetch("mlguard", "sample")).body)["holders"]
        kernel = next(row for row in holders["kernels"] if row["kernel_id"] == started["id"])
        assert kernel["pid"] is not None
        assert kernel["ram"]["value"] > 0
        rows = [*holders["kernels"], *holders["others"]]
        assert sum(row["ram"]["value"] for row in rows) == pytest.approx(5 * GIB)
    finally:
        await jp_fetch("api", "kernels", started["id"], method="DELETE")


async def test_a_guard_line_is_read_by_the_one_parser(jp_fetch: Any) -> None:
    """Badge phrases for a good line, the place of the mistake for a bad one."""
    lines = ["%%guard retry=3 mem=0.9", "%%guard  retri=3"]
    body = json.dumps({"lines": lines})
    good, bad = json.loads((await jp_fetch("mlguard", "directive", method="POST", body=body)).body)["directives"]
    assert good["phrases"] == ["3 attempts", "RAM stop 90 %"]
    assert good["policy"]["retry"]["attempts"] == 3
    assert bad["error"] == "unknown option 'retri'"
    assert lines[1][slice(*bad["span"])] == "retri=3"


@pytest.mark.parametrize("body", ['{"lines": "retry"}', '{"lines": [1]}', "[]"])
async def test_lines_that_are_no_lines_are_refused(jp_fetch: Any, body: str) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("mlguard", "directive", method="POST", body=body)
    assert refused.value.code == 400


async def export(jp_fetch: Any, **request: Any) -> list[dict[str, Any]]:
    answer = await jp_fetch("mlguard", "export", method="POST", body=json.dumps(request), request_timeout=120)
    return [json.loads(line) for line in answer.body.decode().splitlines()]


def write_notebook(folder: Path, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, folder / "work.ipynb")


@pytest.mark.parametrize(
    "request_",
    [
        {"path": "../outside.ipynb", "check": True},
        {"path": "/etc/passwd", "check": True},
        {"path": "work.ipynb", "output": "../elsewhere"},
        {"path": "work.ipynb", "output": "."},
        {"path": "work.ipynb", "output": ""},
        {"path": "work.ipynb", "output": "out", "name": "not-a-name"},
        {"path": "work.ipynb", "output": "link/out"},
        {"path": "missing.ipynb", "check": True},
        {"path": f"{'x' * 5000}.ipynb", "check": True},
        {"path": "\ud800.ipynb", "check": True},
        {"path": "work.ipynb", "output": "\ud800"},
    ],
)
async def test_nothing_outside_the_folder_is_read_or_written(
    jp_fetch: Any, jp_root_dir: Path, tmp_path: Path, request_: dict[str, Any]
) -> None:
    """Neither by .., nor by an absolute path, nor through a link; what is no path at all is refused too."""
    write_notebook(jp_root_dir, "x = 1")
    (tmp_path / "outside.ipynb").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    (jp_root_dir / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HTTPClientError) as refused:
        await export(jp_fetch, **request_)
    assert refused.value.code == 400
    assert not list((tmp_path / "elsewhere").iterdir())


async def test_an_export_ends_with_a_result_and_a_package(jp_fetch: Any, jp_root_dir: Path) -> None:
    """Progress first, the result last; the package lies where it was asked for, named relative to the folder."""
    write_notebook(jp_root_dir, "numbers = [1, 2, 3]", "total = sum(numbers)")
    messages = await export(jp_fetch, path="work.ipynb", output="exports/work", name="work")
    result = messages[-1]["result"]
    assert result["folder"] == "exports/work"
    assert (jp_root_dir / "exports/work/pyproject.toml").is_file()


async def test_a_check_writes_nothing(jp_fetch: Any, jp_root_dir: Path) -> None:
    write_notebook(jp_root_dir, "numbers = [1, 2, 3]", "total = sum(numbers)")
    before = sorted(jp_root_dir.rglob("*"))
    result = (await export(jp_fetch, path="work.ipynb", check=True))[-1]["result"]
    assert [step["cells"] for step in result["steps"]]
    assert sorted(jp_root_dir.rglob("*")) == before


async def test_a_notebook_that_cannot_be_converted_says_where(jp_fetch: Any, jp_root_dir: Path) -> None:
    write_notebook(jp_root_dir, "x = 1", "return x")
    last = (await export(jp_fetch, path="work.ipynb", check=True))[-1]
    findings = (last.get("error") or last["result"])["findings"]
    assert any(finding["cell"] == 2 and finding["level"] == "error" for finding in findings)
    without = (await export(jp_fetch, path="work.ipynb", check=True, skip_bad_cells=True))[-1]
    assert "result" in without


async def said_of(request: dict[str, Any], root: Path, bounds: Bounds) -> list[dict[str, Any]]:
    """Everything that the bounded converter says."""
    return [message async for message in lines_of(read_request(request, root), root, bounds)]


async def test_an_export_that_compares_tells_what_it_holds(tmp_path: Path, machine: FakeDevices) -> None:
    """With its children: now, at most so far, and what it may hold at most. One that does not compare, does not."""
    write_notebook(tmp_path, "total = 3")
    request = {"path": "work.ipynb", "output": "out", "verify": True}
    told = [one["memory"] for one in await said_of(request, tmp_path, Bounds()) if "memory" in one]
    assert all(0 < one["held"] <= one["peak"] and one["most"] == int(11 * GIB * 0.8) for one in told)
    peaks = [one["peak"] for one in told]
    assert peaks
    assert peaks == sorted(peaks)
    plain = await said_of({**request, "output": "plain", "verify": False}, tmp_path, Bounds())
    assert not any("memory" in one for one in plain)


class HeldByExports(FakeDevices):
    """A machine where every export that runs holds `each` on the only device; `hangs` is a driver that answers late."""

    def __init__(self, each: int | Unknown, *, has_gpu: bool = True, hangs: threading.Event | None = None) -> None:
        gpu = fake_gpu(total=80 * GIB, used=40 * GIB)
        super().__init__(ram_used=5 * GIB, ram_limit=16 * GIB, gpus=(gpu,) if has_gpu else Unknown("no driver"))
        self.each, self.hangs, self.gpu = each, hangs, gpu

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        if self.hangs is not None:
            self.hangs.wait()
        strangers = (GpuProcess(os.getpid(), self.gpu.uuid, 9 * GIB),)
        return (*strangers, *(GpuProcess(found.pid, self.gpu.uuid, self.each) for found in converters()))


@pytest.mark.parametrize(
    ("machine", "held"),
    [
        (HeldByExports(3 * GIB), [{"value": 3 * GIB, "reason": None}]),
        (HeldByExports(Unknown("not told")), [{"value": None, "reason": "not told"}]),
        (HeldByExports(0, has_gpu=False), []),
    ],
    ids=["held", "unknown", "no-gpu"],
)
async def test_an_export_that_compares_tells_what_it_holds_of_each_gpu(
    tmp_path: Path, machine: HeldByExports, held: list[Any]
) -> None:
    """Only its own; null with the reason where the driver does not tell, and nothing where there is no GPU."""
    write_notebook(tmp_path, "total = 3")
    request = {"path": "work.ipynb", "output": "out", "verify": True}
    previous = devices.install(machine)
    try:
        told = [one["memory"] for one in await said_of(request, tmp_path, Bounds()) if "memory" in one]
    finally:
        devices.install(previous)
    assert list(told[0]["gpus"]) == [
        {"index": 0, "name": "NVIDIA Fake", "mig": False, "held": one, "total": {"value": 80 * GIB, "reason": None}}
        for one in held
    ]


async def test_a_driver_that_hangs_does_not_hold_up_the_bounds_of_an_export(tmp_path: Path) -> None:
    write_notebook(tmp_path, "while True: pass")
    request = {"path": "work.ipynb", "output": "out", "verify": True}
    answer = threading.Event()
    previous = devices.install(HeldByExports(0, hangs=answer))
    try:
        messages = await said_of(request, tmp_path, Bounds(export_seconds=3))
    finally:
        answer.set()
        devices.install(previous)
    assert messages[-1]["error"]["message"].startswith("the converter was stopped after 3s")
    assert next(one["memory"]["gpus"] for one in messages if "memory" in one) == (), "no device was heard of"


async def test_an_export_that_takes_too_long_is_ended_with_its_kernels(tmp_path: Path) -> None:
    """A cell that never ends does not occupy the server for ever; the message names the setting."""
    write_notebook(tmp_path, "while True: pass")
    request = {"path": "work.ipynb", "output": "out", "verify": True}
    said = (await said_of(request, tmp_path, Bounds(export_seconds=4)))[-1]["error"]["message"]
    assert said.startswith("the converter was stopped after 4s")
    assert "MlguardExport.export_seconds" in said
    assert not converters()


async def test_an_export_that_takes_too_much_memory_is_ended(tmp_path: Path, machine: FakeDevices) -> None:
    """What the notebook's own run takes counts too: 300 MB where a tenth of 2 GiB was free."""
    machine.ram_used = 14 * GIB
    write_notebook(tmp_path, "block = bytearray(300_000_000)\nwhile True: pass")
    request = {"path": "work.ipynb", "output": "out", "verify": True}
    said = (await said_of(request, tmp_path, Bounds(memory_fraction=0.1)))[-1]["error"]["message"]
    assert "0.2 GiB were the most" in said
    assert not converters()
    assert [path.name for path in tmp_path.iterdir()] == ["work.ipynb"], "killed, and nothing half-written remains"


def test_the_bounds_can_be_configured() -> None:
    """c.MlguardExport of the server's configuration, with the defaults of Bounds."""
    assert MlguardExport().bounds == Bounds()
    config = Config({"MlguardExport": {"export_seconds": 60.0, "memory_fraction": 0.5}})
    assert MlguardExport(config=config).bounds == Bounds(export_seconds=60.0, memory_fraction=0.5)


async def test_a_folder_that_cannot_be_written_says_so(jp_fetch: Any, jp_root_dir: Path) -> None:
    """A file where the folder should be: one error that names it, no crash and nothing half-written."""
    write_notebook(jp_root_dir, "x = 1")
    (jp_root_dir / "taken").write_text("a file")
    last = (await export(jp_fetch, path="work.ipynb", output="taken/out"))[-1]
    assert "taken is a file" in last["error"]["message"]
    assert last["error"]["findings"][0]["message"] == "taken is a file", "as the page names it"
    assert str(jp_root_dir) not in json.dumps(last)
    assert (jp_root_dir / "taken").read_text() == "a file"
    last = (await export(jp_fetch, path="work.ipynb", output="long" * 100))[-1]
    assert last["error"]["message"].endswith("File name too long")
    assert sorted(path.name for path in jp_root_dir.iterdir()) == ["taken", "work.ipynb"]


def converters() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            found += [child] if "mlguard_convert" in child.cmdline() else []
        except psutil.Error:
            continue  # it has just ended
    return found


async def test_a_page_that_goes_away_ends_its_export(
    jp_serverapp: Any, jp_http_port: int, jp_base_url: str, http_server: Any, jp_root_dir: Path
) -> None:
    """Stop means stop: the converter ends although it is in the middle of a cell that never does."""
    write_notebook(jp_root_dir, "while True: pass")
    body = json.dumps({"path": "work.ipynb", "output": "exports/work", "verify": True}).encode()
    head = (
        f"POST {jp_base_url}mlguard/export HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: token {jp_serverapp.identity_provider.token}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
    writer.write(head.encode() + body)
    assert b"200" in await reader.readline()
    assert converters()
    writer.close()
    await asyncio.wait_for(until(lambda: not converters()), 60)


async def until(claim: Any) -> None:
    while not claim():
        await asyncio.sleep(0)
