"""Results that outlive the process: their bytes, the folder, and a real Redis server that dies and comes back."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlguard_nb import cache_result
from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.runtime.stores.disk import DiskStore, user_key
from mlguard_nb.runtime.stores.encoding import _HEAD, _MAGIC, _NODES, _checksum, decode, encode
from mlguard_nb.runtime.stores.entry import Entry, NotStorable
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CacheFailed
from mlguard_nb.testing import no_wait
from tests.runtime.redis_server import Server

SECRET = b"a key of the user"


class Calls:
    """Counts calls; it has no content that a fingerprint reads, so it does not change the function's code."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.lock = threading.Lock()  # which nobody can read

    def __len__(self) -> int:
        return len(self.seen)


def through(value: Any, secret: bytes | None = None) -> Any:
    """The value, written and read back."""
    entry = decode(b"".join(bytes(part) for part in encode(Entry(value, 5.0), secret)), secret)
    assert entry is not None
    return entry.value


# Bytes.

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    """With their types, without pickle."""
    back = through(value)
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(12).reshape(3, 4)), np.arange(10)[::2], np.zeros((0, 3)),
        np.array(5.0), np.array(["a", "bc"]), np.array([1, "x", None], dtype=object), np.array([True, False]),
        np.array(["2026-01-01"], dtype="M8[D]"), np.arange(3, dtype=">i4"), np.arange(3, dtype="f2"),
    ],
)  # fmt: skip
def test_arrays_come_back_as_they_were(array: Any) -> None:
    """Dtype, shape and values; and they can be written to, as any fresh result."""
    back = through(array)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


FRAME = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "x": [0.5, None, 2.5],
        "text": ["a", None, "c"],
        "flag": [True, False, True],
        "day": pd.date_range("2026", periods=3),
        "zoned": pd.date_range("2026", periods=3, tz="Europe/Paris"),
        "kind": pd.Categorical(["x", "y", "x"], ordered=True),
    }
)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME, FRAME.set_index("text"), FRAME.set_index("day"), FRAME.iloc[::-1], FRAME.iloc[:0], FRAME[["n", "n"]],
        FRAME.rename_axis("row"), pd.DataFrame({1: [1], 2: [2]}), pd.DataFrame(index=[1, 2]),
    ],
)  # fmt: skip
def test_frames_come_back_as_they_were(frame: pd.DataFrame) -> None:
    """Columns, dtypes, index and values, without pickle."""
    pd.testing.assert_frame_equal(through(frame), frame, check_freq=False)


def test_series_and_times_come_back_as_they_were() -> None:
    """Names too."""
    pd.testing.assert_series_equal(through(FRAME["x"]), FRAME["x"])
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone.utc)
    assert through([moment, Path("a/b"), np.float32(1.5), {1, 2}]) == [moment, Path("a/b"), np.float32(1.5), {1, 2}]


class Thing:
    """An object that only pickle can write."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class Bomb:
    """What an attacker would put into a shared cache."""

    exploded = False

    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    Bomb.exploded = True


def test_other_objects_need_a_key() -> None:
    """Without one they are refused, with a message that names the type; with one they are pickled and signed."""
    with pytest.raises(NotStorable, match="Thing can only be stored with pickle"):
        through(Thing(3))
    assert through([Thing(3), np.arange(2)], SECRET)[0] == Thing(3)


def test_a_pickle_signed_by_somebody_else_is_never_loaded() -> None:
    """Another key, no key, or one changed byte: a miss, and nothing runs."""
    raw = b"".join(bytes(part) for part in encode(Entry(Bomb(), 5.0), b"the attacker's key"))
    assert decode(raw, SECRET) is None
    assert decode(raw, None) is None
    signed = bytearray(b"".join(bytes(part) for part in encode(Entry(Thing(1), 5.0), SECRET)))
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1
        assert decode(bytes(changed), SECRET) is None
    assert Bomb.exploded is False


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_none(raw: bytes) -> None:
    """Never an exception: a foreign file is a miss."""
    assert decode(raw) is None
    assert decode(b"MLGUARD1" + raw) is None


@given(st.data())
def test_a_header_that_somebody_wrote_by_hand_is_an_entry_or_none(data: st.DataObject) -> None:
    """With the right magic, length and checksum: only the tree of values is nonsense."""
    leaves = st.none() | st.booleans() | st.integers(-3, 99) | st.text(max_size=9) | st.sampled_from(sorted(_NODES))
    leaves |= st.sampled_from(["0x1p99999", "range", "category", "datetime64[ns, UTC]", "<f8", "1e999", "freq"])
    named = st.tuples(st.sampled_from(sorted(_NODES)), st.recursive(leaves, st.lists)).map(lambda p: [p[0], p[1]])
    tree = data.draw(st.recursive(leaves, lambda inner: st.lists(inner, max_size=5) | named, max_leaves=12))
    facts = {"stored": 1, "fresh": None, "kept": None, "buffers": [8], "pickled": [], "value": tree}
    header, buffer = json.dumps(facts).encode(), bytes(8)
    raw = _HEAD.pack(_MAGIC, len(header), _checksum(header, [buffer]), bytes(32)) + header + buffer
    entry = decode(raw)
    assert entry is None or isinstance(entry, Entry)


def test_one_bit_that_a_disk_has_turned_is_noticed() -> None:
    """Wherever it is; a float would be another float, and nobody would know."""
    raw = b"".join(encode(Entry({"a": np.arange(4.0)}, 1.0)))
    assert decode(raw) is not None
    for place in range(len(raw)):
        spoilt = bytearray(raw)
        spoilt[place] ^= 1
        if 32 <= place < 64:  # the signature, which an entry without pickle has not
            continue
        assert decode(bytes(spoilt)) is None, place


def test_a_result_that_contains_itself_stays_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No call fails because its result cannot be written down."""

    @cache_result(backend=f"disk:{tmp_path}")
    def ring() -> list[Any]:
        around: list[Any] = [1]
        around.append(around)
        return around

    first, second = ring(), ring()
    assert first[1] is first
    assert second[1] is second is not first
    assert "contains itself" in caplog.text
    assert ring.cache_info().misses == 1  # type: ignore[attr-defined]


def test_torn_entries_are_none() -> None:
    """Cut at every byte."""
    whole = b"".join(bytes(part) for part in encode(Entry([np.arange(5), "text"], 5.0)))
    for length in range(len(whole)):
        assert decode(whole[:length]) is None


# The folder.


def test_disk_results_survive_the_process(tmp_path: Path) -> None:
    """A second process with the same code gets the first one's result; with other code it computes."""

    def run(body: str) -> str:
        script = tmp_path / "job.py"
        script.write_text(
            textwrap.dedent(
                f"""
                import numpy as np
                from mlguard_nb import cache_result
                @cache_result(backend="disk:{tmp_path / "store"}", ttl=None)
                def work(x):
                    print("computed")
                    return {{"sum": np.full(3, x), "n": {body}}}
                print(work(2)["sum"].sum(), work(2)["n"])
                """
            )
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace("\n", " ").strip()

    assert run("1") == "computed 6 1"
    assert run("1") == "6 1"
    assert run("2") == "computed 6 2"


def test_a_process_killed_while_it_writes_leaves_no_torn_result(tmp_path: Path) -> None:
    """kill -9 at any moment: what is in the folder afterwards is whole, or not there."""
    program = textwrap.dedent(
        f"""
        import itertools, pathlib
        import numpy as np
        from mlguard_nb.runtime.stores.entry import Entry
        from mlguard_nb.runtime.stores.disk import DiskStore
        store = DiskStore(pathlib.Path({str(tmp_path)!r}))
        for n in itertools.count():
            store.put(bytes(16) + bytes([n % 7]) * 16, Entry(np.full(300_000, n), 1.0))
            print(n, flush=True)
        """
    )
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _line in range(9):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        store = DiskStore(tmp_path)
        found = [store.get(bytes(16) + bytes([n]) * 16) for n in range(7)]
        assert all(entry is not None and len(set(entry.value.tolist())) == 1 for entry in found)


def test_a_torn_or_foreign_file_is_a_miss_and_goes(tmp_path: Path) -> None:
    """And the call computes."""
    function = cache_result(backend=f"disk:{tmp_path}")(lambda x: x + 1)
    function(1)
    (path,) = tmp_path.rglob("*.mlguard")
    path.write_bytes(path.read_bytes()[:-1])
    cache_of(function).shelf.clear()
    assert function(1) == 2
    assert function.cache_info().misses == 2


def test_files_are_this_user_s_only(tmp_path: Path) -> None:
    """Mode 0600."""
    cache_result(backend=f"disk:{tmp_path}")(lambda x: x)(1)
    (path,) = tmp_path.rglob("*.mlguard")
    assert path.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_never_fails_the_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Compute, count, warn once, and recover by itself."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    function = cache_result(backend=f"disk:{blocked}/store", name="job")(lambda x: x + 1)
    try:
        with no_wait() as clock, caplog.at_level(logging.WARNING):
            assert [function(1), function(2), function(3)] == [2, 3, 4]
            assert caplog.text.count("does not answer") == 1
            assert function.cache_info().backend_failures == 1
            assert [event.function for event in heard if isinstance(event, CacheFailed)] == ["job"]
            blocked.unlink()
            clock.sleep(6)
            function(4)
            assert "answers again" in caplog.text
            assert list(blocked.rglob("*.mlguard"))
    finally:
        end()


def test_ttl_holds_across_processes(tmp_path: Path) -> None:
    """Time is counted from when the result was made, wherever it is read."""
    with no_wait() as clock:
        calls = Calls()

        def body(x: int) -> int:
            calls.seen.append(x)
            return x

        first = cache_result(backend=f"disk:{tmp_path}", ttl=10, ignore=())(body)
        first(1)
        clock.sleep(6)
        second = cache_result(backend=f"disk:{tmp_path}", ttl=10, ignore=())(body)
        second(1)
        assert len(calls) == 1
        clock.sleep(6)
        second(1)
        assert len(calls) == 2


def test_results_that_are_over_leave_the_folder(tmp_path: Path) -> None:
    """Once an hour, with what killed processes left; those without a ttl stay."""
    with no_wait() as clock:
        brief = cache_result(backend=f"disk:{tmp_path}", ttl=10, name="brief")(_double)
        brief(1)
        (folder,) = tmp_path.iterdir()
        left = folder / ".half.123.456"
        left.write_text("torn")
        os.utime(left, (clock.wall(), clock.wall()))
        cache_result(backend=f"disk:{tmp_path}", ttl=None)(_double)(2)
        clock.sleep(3601 * 2)
        brief(3)
        assert len(list(folder.glob("*.mlguard"))) == 2
        assert not left.exists()


def test_clear_and_invalidate_reach_the_folder(tmp_path: Path) -> None:
    """Only this function's results go."""

    def fresh() -> tuple[Any, Any]:
        return cache_result(backend=f"disk:{tmp_path}")(_double), cache_result(backend=f"disk:{tmp_path}")(_triple)

    double, triple = fresh()
    double(1), double(2), triple(1)
    assert fresh()[0].invalidate(1) is True
    assert len(list(tmp_path.rglob("*.mlguard"))) == 2
    fresh()[0].cache_clear()
    assert len(list(tmp_path.rglob("*.mlguard"))) == 1


def _double(x: int) -> int:
    return 2 * x


def _triple(x: int) -> int:
    return 3 * x


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_arguments_of_stored_calls(tmp_path: Path, library: str) -> None:
    """By their content, as in memory."""
    frames = pytest.importorskip(library)
    for _process in range(2):  # the second finds on disk what the first has kept
        total = cache_result(backend=f"disk:{tmp_path}")(_total)
        assert total(frames.DataFrame({"a": [0, 1, 2]}), frames.Series([1, 2])) == 6
        assert total(frames.DataFrame({"a": [0, 1, 2]}), frames.Series([1, 3])) == 7
        assert total(frames.DataFrame({"a": [0, 1, 3]}), frames.Series([1, 2])) == 7
    assert total.cache_info().misses == 0
    assert len(list(tmp_path.rglob("*.mlguard"))) == 3


def _total(frame: Any, series: Any) -> int:
    return int(frame["a"].sum() + series.sum())


def test_identity_does_not_count_where_results_are_shared(tmp_path: Path) -> None:
    """A method's self must have content there; one that has none is an error that says so."""

    class Job:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        @cache_result(backend=f"disk:{tmp_path}")
        def run(self, x: int) -> int:
            return x

    with pytest.raises(PolicyError, match="'self'"):
        Job().run(1)


def test_the_user_s_key_is_made_once_and_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 bytes, mode 0600, in Jupyter's data folder; one that others may read is not used."""
    monkeypatch.delenv("MLGUARD_CACHE_KEY", raising=False)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    key = user_key()
    assert key is not None
    assert len(key) == 32
    assert user_key() == key
    path = tmp_path / "mlguard-nb" / "cache.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert user_key() is None
    monkeypatch.setenv("MLGUARD_CACHE_KEY", "mine")
    assert user_key() == b"mine"


# A real server.


@pytest.mark.parametrize("address", ["redis://user:secret@host:port/0", "redis://host/0?bogus=1", "redis://host:99999"])
def test_an_address_that_cannot_be_is_refused_at_decoration_without_its_password(address: str) -> None:
    with pytest.raises(PolicyError, match="backend must be an address such as") as refused:
        cache_result(backend=address)(lambda x: x)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_two_processes_share_results_through_the_server(server: Server) -> None:
    """Arrays and frames, without pickle; the server itself forgets them after their time."""
    import redis

    calls = Calls()

    def body(x: int) -> Any:
        calls.seen.append(x)
        return {"frame": FRAME, "array": np.arange(x)}

    first = cache_result(backend=server.url, ttl=100, ignore=())(body)
    second = cache_result(backend=server.url.replace("redis", "valkey", 1), ttl=100, ignore=())(body)
    first(5)
    pd.testing.assert_frame_equal(second(5)["frame"], FRAME, check_freq=False)
    assert calls.seen == [5]
    client = redis.Redis(port=server.port)
    (key,) = client.keys()
    assert 0 < client.pttl(key) <= 100_000
    assert client.get(key)[:8] == b"MLGUARD1"
    assert second.invalidate(5) is True
    assert client.dbsize() == 0


def test_a_server_that_dies_and_comes_back_never_fails_a_call(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Computed while it is away, with one warning; used again when it is back, without a restart."""
    with no_wait() as clock, caplog.at_level(logging.WARNING):
        function = cache_result(backend=server.url, ttl=None)(lambda x: x + 1)
        assert function(1) == 2
        server.kill()
        assert [function(n) for n in range(2, 8)] == [3, 4, 5, 6, 7, 8]
        assert caplog.text.count("does not answer") == 1
        assert function.cache_info().backend_failures == 1
        server.start()
        clock.sleep(6)
        assert function(20) == 21
        assert "answers again" in caplog.text
        cache_of(function).shelf.clear()
        misses = function.cache_info().misses
        assert function(20) == 21
        assert function.cache_info().misses == misses


def test_a_server_that_is_slow_costs_a_bounded_wait(tmp_path: Path) -> None:
    """It accepts and says nothing: the call is answered all the same."""
    pytest.importorskip("redis", reason="NOT TESTED: the Redis backend needs the redis package")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        function = cache_result(backend=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")(lambda x: x + 1)
        started = time.monotonic()
        assert [function(1), function(2), function(3)] == [2, 3, 4]
        assert time.monotonic() - started < 20


def test_coroutine_functions_use_the_server_without_blocking_the_loop(server: Server) -> None:
    """The server is asked on a thread."""
    threads: set[int] = set()

    @cache_result(backend=server.url)
    async def function(x: int) -> int:
        return x + 1

    store = cache_of(function).backend
    assert store is not None
    get = store.get
    store.get = lambda key: (threads.add(threading.get_ident()), get(key))[1]  # type: ignore[method-assign]
    assert asyncio.run(function(1)) == 2
    assert threads
    assert threading.get_ident() not in threads


def test_objects_that_need_pickle_stay_out_of_redis_without_a_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Kept in memory, with one warning; with a key of the user's they are signed and shared."""
    import redis

    monkeypatch.delenv("MLGUARD_CACHE_KEY", raising=False)
    function = cache_result(backend=server.url)(Thing_of)
    with caplog.at_level(logging.WARNING):
        assert [function(n) for n in range(3)] == [Thing(0), Thing(1), Thing(2)]
    assert caplog.text.count("MLGUARD_CACHE_KEY") == 1
    client = redis.Redis(port=server.port)
    assert [key for key in client.scan_iter() if not key.endswith(b":lease")] == []
    assert function.cache_info().entries == 3
    monkeypatch.setenv("MLGUARD_CACHE_KEY", "a key that the user set")
    client.flushdb()
    cache_result(backend=server.url)(Thing_of)(1)
    assert client.dbsize() == 1
    assert cache_result(backend=server.url)(Thing_of)(1) == Thing(1)


def Thing_of(x: int) -> Thing:
    return Thing(x)
