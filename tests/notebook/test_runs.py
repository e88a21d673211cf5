"""What the guards of a cell do: attempts, names taken back, time limits, memory, cache, schemas, in a real kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.notebook.kernels import MIME, Kernel

pytestmark = pytest.mark.kernel


def _counting(kernel: Kernel, name: str = "tries") -> None:
    kernel.run(f"{name} = []")


def test_a_cell_is_tried_again(kernel: Kernel) -> None:
    """Two failures, then success: the value is there, and the view tells each attempt."""
    _counting(kernel)
    answer = kernel.run(
        "%%guard retry=3 wait=0.01s..0.02s name=flaky\n"
        "tries.append(1)\nif len(tries) < 3:\n    raise ConnectionError(f'try {len(tries)}')\nlen(tries)"
    )

    assert answer.result == "3" and answer.error is None
    view = answer.view
    assert view["outcome"] == "ok" and view["name"] == "flaky" and view["attempt"] == 3
    assert [(a["outcome"], a["error"]) for a in view["attempts"]] == [
        ("failed", "ConnectionError"), ("failed", "ConnectionError"), ("finished", None),
    ]  # fmt: skip
    assert all(0 <= a["wait_seconds"] <= 0.02 for a in view["attempts"][:2])
    assert answer.sentence.startswith("✓") and "attempt 3 of 3" in answer.sentence


def test_the_last_error_is_the_users_own(kernel: Kernel) -> None:
    """After the last attempt the cell's own exception is raised, with a note."""
    answer = kernel.run("%%guard retry=2 wait=0s\nraise ConnectionError('down')")

    assert answer.error == "ConnectionError"
    assert "gave up after 2 attempts" in answer.traceback
    assert "2 of 2 attempts failed" in answer.sentence and "(line 2)" in answer.sentence


def test_programming_errors_are_not_tried_again(kernel: Kernel) -> None:
    """A typo fails once."""
    _counting(kernel)
    answer = kernel.run("%%guard retry=3 wait=0s\ntries.append(1)\nundefined_name")

    assert answer.error == "NameError"
    assert kernel.run("len(tries)").result == "1"


def test_on_chooses_the_exceptions(kernel: Kernel) -> None:
    """on= binds names of the notebook and of the builtins."""
    kernel.run("class Mine(Exception): pass")
    _counting(kernel)
    kernel.run(
        "%%guard retry=3 wait=0s on=Mine,TypeError\ntries.append(1)\nraise Mine if len(tries) == 1 else ValueError"
    )

    assert kernel.run("len(tries)").result == "2"


def test_a_failed_attempt_leaves_no_names(kernel: Kernel) -> None:
    """Bindings of failed attempts are taken back, the last one's too; values from before are there again."""
    kernel.run("kept = 'before'")
    kernel.run("%%guard retry=2 wait=0s\nkept = 'half'\nfresh = 1\nraise ConnectionError")

    assert kernel.run("(kept, 'fresh' in globals())").result == "('before', False)"


def test_without_retry_names_stay_as_in_a_plain_cell(kernel: Kernel) -> None:
    """A failing guarded cell without attempts leaves what a plain cell leaves."""
    kernel.run("%%guard\nleft = 1\nraise ConnectionError")

    assert kernel.run("left").result == "1"


def test_attempts_free_what_failed_attempts_held(kernel: Kernel) -> None:
    """Objects of a failed attempt are gone before the next one begins."""
    kernel.run("import gc, weakref\nrefs, alive = [], []\nclass Big: pass")
    kernel.run("def work():\n    local = Big()\n    refs.append(weakref.ref(local))\n    raise ConnectionError")
    kernel.run(
        "%%guard retry=3 wait=0s\ngc.collect()\nalive.append(sum(ref() is not None for ref in refs))\n"
        "held = Big()\nrefs.append(weakref.ref(held))\nwork()"
    )

    assert kernel.run("alive").result == "[0, 0, 0]"


def test_an_interrupt_is_never_tried_again(kernel: Kernel) -> None:
    """Interrupting an attempt ends the cell."""
    _counting(kernel)
    answer = kernel.run(
        "%%guard retry=5 wait=0s\ntries.append(1)\nprint('going', flush=True)\ntime.sleep(30)", interrupt_when="going"
    )

    assert answer.error == "KeyboardInterrupt" and answer.seconds < 20
    assert answer.view["outcome"] == "interrupted"
    assert kernel.run("len(tries)").result == "1"


def test_an_interrupt_ends_a_back_off_at_once(kernel: Kernel) -> None:
    """A wait of half a minute between attempts is over when a person says so, in one line."""
    answer = kernel.run(
        "%%guard retry=3 wait=30s..30s on=ConnectionError\nprint('going', flush=True)\nraise ConnectionError('down')",
        interrupt_when="guard: waiting",
    )

    assert answer.error == "KeyboardInterrupt" and answer.seconds < 20
    assert len(answer.traceback.splitlines()) == 1
    assert "attempt 2 of 3" in answer.traceback and "ConnectionError: down" in answer.traceback


def test_an_interrupt_between_two_calls_of_the_loop_ends_the_run(kernel: Kernel) -> None:
    """There nothing of ours is on the stack; the view must not go on for ever. A guarded cell around it does go on."""
    torn = "def torn(token):\n    del marker.attempt\n    raise KeyboardInterrupt\nmarker.attempt = torn"
    kernel.run(f"import builtins\nmarker = builtins.__mlguard__\n{torn}")
    answer = kernel.run("%%guard mem=0.95\nnever = 1")
    inside = f"{torn}\nget_ipython().run_cell('%%guard\\nnever = 1')\nafter = 2"
    outer = kernel.run(f"%%guard name=outer\n{inside}")

    assert answer.error == "KeyboardInterrupt" and answer.view["outcome"] == "interrupted"
    assert [data[MIME]["outcome"] for data in outer.shown if MIME in data] == ["ok", "interrupted"]
    assert kernel.run("'never' in globals(), after").result == "(False, 2)"


def test_an_awaiting_cell_can_be_interrupted(kernel: Kernel) -> None:
    """`await asyncio.sleep(30)` hears an interrupt although the loop has nothing else to do."""
    answer = kernel.run("%%guard\nprint('going', flush=True)\nawait asyncio.sleep(30)", interrupt_when="going")

    assert answer.error in ("KeyboardInterrupt", "CancelledError") and answer.seconds < 20


def test_a_timeout_stops_a_blocking_call(kernel: Kernel) -> None:
    """timeout= ends an attempt inside a C call that blocks; it counts as a failed attempt."""
    answer = kernel.run("%%guard retry=2 wait=0s timeout=0.2s\ntime.sleep(30)")

    assert answer.error == "TimeoutError" and answer.seconds < 20
    assert len(answer.view["attempts"]) == 2
    assert "mlguard_nb" not in answer.traceback


def test_a_timeout_stops_an_await(kernel: Kernel) -> None:
    """The same for a cell that awaits."""
    answer = kernel.run("%%guard retry=2 wait=0s timeout=0.2s\nawait asyncio.sleep(30)")

    assert answer.error == "TimeoutError" and answer.seconds < 20


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ("retry=1 timeout=0.2s", "x = 1\ny = 2\nawait asyncio.sleep(30)"),
        ("mem=0.95", "x = 1\ny = 2\nraise MemoryError"),
    ],
)
def test_an_error_put_in_anothers_place_points_at_the_same_line(kernel: Kernel, options: str, lines: str) -> None:
    """TimeoutError for a cancelled await, MemoryPressure for a MemoryError: shown where the first one was raised."""
    answer = kernel.run(f"%%guard {options}\n{lines}")

    assert answer.error in ("TimeoutError", "MemoryPressure")
    assert f"----> 4 {lines.splitlines()[-1]}" in answer.traceback and "mlguard_nb" not in answer.traceback


def test_cells_that_failed_before_take_no_attempt_away(kernel: Kernel) -> None:
    """However often cells failed in a long notebook, the next one has the attempts that its line asks for."""
    for _ in range(34):  # 102 retries: the budget of a function is 100 in a row
        kernel.run("%%guard retry=4 wait=0s view=off\nraise ConnectionError")
    answer = kernel.run("%%guard retry=4 wait=0s\nraise ConnectionError")

    assert len(answer.view["attempts"]) == 4 and "budget" not in answer.traceback


def test_a_deadline_ends_all_attempts(kernel: Kernel) -> None:
    """deadline= bounds the attempts together."""
    answer = kernel.run("%%guard retry=50 wait=0s deadline=0.5s\ntime.sleep(0.2)\nraise ConnectionError")

    assert answer.error in ("ConnectionError", "TimeoutError") and answer.seconds < 9
    assert len(answer.view["attempts"]) <= 3


def test_a_cell_is_refused_where_memory_is_short(kernel: Kernel) -> None:
    """MemoryPressure before the first line, naming device, use, stop and a next step; nothing runs."""
    answer = kernel.run("%%guard mem=1MB\nran = True")

    assert answer.error == "MemoryPressure"
    assert "RAM is short" in answer.traceback and "stop at" in answer.traceback and "Next:" in answer.traceback
    assert answer.view["outcome"] == "refused"
    assert kernel.run("'ran' in globals()").result == "False"


@pytest.mark.parametrize("at", ["stop", "wait", "warn"])
def test_what_can_never_fit_is_told_so(kernel: Kernel, at: str) -> None:
    """A need above the stop waits for nobody: the answer says what was asked for and where the stop is."""
    answer = kernel.run(f"%%guard mem=0.9 need=73TiB at={at} patience=10m\n1")
    told = answer.traceback + "".join(answer.view["notes"])

    assert "asked for 74,752.0 GiB; it can never fit below the stop of" in told
    assert "wait for the other processes" not in told and answer.error == (None if at == "warn" else "MemoryPressure")


def test_an_allocation_that_can_never_fit_is_told_so(kernel: Kernel) -> None:
    """One array larger than the machine: the error says the size, the stop, and that nobody can make room."""
    answer = kernel.run("%%guard mem=0.95\nx = np.ones(73 << 37)")

    assert answer.error == "MemoryPressure" and "----> 2 x = np.ones(73 << 37)" in answer.traceback
    assert "asked for 74,752.0 GiB; it can never fit below the stop of" in answer.traceback
    assert "it can never fit" in answer.sentence and "Unable to allocate 73.0 TiB" in answer.traceback


def test_at_skip_runs_nothing(kernel: Kernel) -> None:
    """at=skip leaves the cell out without an error."""
    answer = kernel.run("%%guard mem=1MB at=skip\nran = True")

    assert answer.error is None and answer.view["outcome"] == "skipped"
    assert kernel.run("'ran' in globals()").result == "False"


def test_at_warn_runs_all_the_same(kernel: Kernel) -> None:
    """at=warn says so and goes on."""
    answer = kernel.run("%%guard mem=1MB at=warn\nwarned = True")

    assert answer.error is None and any("RAM is short" in note for note in answer.view["notes"])


def test_at_wait_waits_and_then_refuses(kernel: Kernel) -> None:
    """at=wait waits as long as patience= says."""
    answer = kernel.run("%%guard mem=1MB at=wait patience=0.3s\n1")

    assert answer.error == "MemoryPressure" and 0.3 <= answer.seconds < 10
    assert re.search(r"after waiting \d\.\d s", answer.sentence), answer.sentence


def test_a_fallback_binds_what_it_returns(kernel: Kernel) -> None:
    """The fallback gets the live-ins that its parameters name."""
    kernel.run("rows = 4\ndef small(rows): return {'fitted': rows * 10}")
    answer = kernel.run("%%guard mem=1MB fallback=small\nfitted = 1")

    assert answer.error is None and answer.view["outcome"] == "degraded"
    assert kernel.run("fitted").result == "40"


def test_halving_until_it_fits(kernel: Kernel) -> None:
    """oom=halve: makes the input smaller after each out-of-memory; afterwards the name has its old value."""
    kernel.run("batch_size = 64")
    answer = kernel.run(
        "%%guard retry=5 oom=halve:batch_size\nif batch_size > 10: raise MemoryError\nworked = batch_size"
    )

    assert answer.error is None
    assert kernel.run("(batch_size, worked)").result == "(64, 8)"
    assert any("worked with batch_size=8" in note for note in answer.view["notes"])


def test_an_out_of_memory_is_not_retried_by_default(kernel: Kernel) -> None:
    """oom=fail: one attempt."""
    answer = kernel.run("%%guard retry=3 wait=0s\nraise MemoryError")

    assert len(answer.view["attempts"]) == 1


def test_a_cached_cell_restores_names_and_output(kernel: Kernel) -> None:
    """The second run binds the same values and shows the same text without running a line."""
    kernel.run("base = 10\nruns = []")
    cell = "%%guard cache=1h\nprint('computing')\nmade = np.arange(3) + base\nmade.sum()"
    first = kernel.run(cell)
    kernel.run("made[0] = 99")
    again = kernel.run(cell + "  # a comment changes nothing")

    assert first.stdout == again.stdout == "computing\n"
    assert first.result == "np.int64(33)" and again.shown[0]["text/plain"] == "np.int64(33)"
    assert again.view["outcome"] == "cached" and again.view["cache"]["hit"] is True
    assert kernel.run("made.tolist()").result == "[10, 11, 12]"


@pytest.mark.parametrize("change", ["base = 11", "def scale(x): return x * 3"])
def test_the_cache_sees_changed_inputs_and_functions(kernel: Kernel, change: str) -> None:
    """Another value of a live-in, or other code of a function that the cell calls, is another key."""
    kernel.run("base = 10\ndef scale(x): return x * 2")
    cell = "%%guard cache=1h\nscaled = scale(base)"
    kernel.run(cell)
    assert kernel.run(cell).view["outcome"] == "cached"

    kernel.run(change)
    assert kernel.run(cell).view["outcome"] == "ok"


def test_a_cached_cell_may_call_what_a_library_brings(kernel: Kernel) -> None:
    """A library's functions and classes count by name and release; its own inside is not read (that of scikit-learn
    leads to compiled functions, which have no content)."""
    kernel.run("from sklearn.linear_model import Ridge\nfrom sklearn.model_selection import train_test_split")
    cell = (
        "%%guard cache=1h\nparts = train_test_split(np.arange(8.0), random_state=0)\n"
        "model = Ridge().fit(parts[0][:, None], parts[0])"
    )
    assert kernel.run(cell).traceback == ""
    assert kernel.run(cell).view["outcome"] == "cached"


def test_refresh_runs_once_more(kernel: Kernel) -> None:
    """refresh runs the cell although there is a result."""
    kernel.run("%%guard cache=1h\nfresh_value = 1")

    assert kernel.run("%%guard cache=1h refresh\nfresh_value = 1").view["outcome"] == "ok"


def test_a_store_that_is_away_fails_no_cell(kernel: Kernel) -> None:
    """As behind `cache_result`: the cell runs without its cache, and its view says that nothing was kept."""
    answer = kernel.run("%%guard cache=1h store=redis://localhost:1\nunkept = 3")

    assert answer.traceback == "" and answer.view["outcome"] == "ok"
    assert "not kept in the cache: " in answer.view["notes"][0]
    assert "not kept in the cache: " in answer.sentence and "not kept in the cache: " in answer.shown[0]["text/html"]
    assert kernel.run("unkept").result == "3"


def test_a_cached_cell_survives_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """store=disk: another kernel restores the names."""
    monkeypatch.setenv("MLGUARD_CACHE_DIR", str(tmp_path))
    cell = "%%guard cache=1h store=disk\nimport numpy as np\nkept = np.arange(5)\nprint('once')"
    outcomes = []
    for _ in range(2):
        own = Kernel()
        try:
            answer = own.run(cell)
            outcomes.append((answer.view["outcome"], answer.stdout, own.run("int(kept.sum())").result))
        finally:
            own.close()

    assert outcomes == [("ok", "once\n", "10"), ("cached", "once\n", "10")]


def test_an_input_without_content_is_named(kernel: Kernel) -> None:
    """What cannot be recognised by content is an error that names it."""
    kernel.run("handle = open('/dev/null')")
    answer = kernel.run("%%guard cache=1h\nread = handle.name")

    assert "handle" in answer.traceback and "Traceback" not in answer.traceback
    assert "cannot be seen" in kernel.run("%%guard cache=1h\nexec('hidden = 1')").traceback


def test_a_learned_schema_rejects_another_structure(kernel: Kernel) -> None:
    """%guard schema learns, validate checks, and a broken input stops the cell before its first line."""
    kernel.run("table = np.ones((4, 3))")
    learned = kernel.run("%guard schema table --name Table")
    assert learned.shown[0][MIME]["schema"]["name"] == "Table" and learned.shown[0][MIME]["schema"]["of"] == "table"
    assert kernel.run("%%guard validate=table:Table\ntable.sum()").result is not None

    kernel.run("table = np.ones((4, 5))")
    answer = kernel.run("%%guard validate\nran_with = table.shape")
    assert answer.error == "InputRejected" and answer.view["outcome"] == "rejected"
    assert kernel.run("'ran_with' in globals()").result == "False"


def test_a_learned_profile_shows_drift(kernel: Kernel) -> None:
    """%guard schema keeps a profile too: data of the same structure that has moved runs, and the view says how far."""
    kernel.run("ages = np.random.default_rng(0).normal(40, 10, 2000)")
    learned = kernel.run("%guard schema ages --name Ages").shown[0]
    assert learned[MIME]["schema"]["reference"]["columns"]["0"]["rows"] == 2000
    assert learned["text/plain"].startswith('Ages = Array("rows", dtype="float64", seen=(')
    assert "profile for drift" in learned["text/plain"]
    assert kernel.run("%%guard validate\nages.mean()").view["notes"] == []

    kernel.run("ages = ages + 15")
    answer = kernel.run("%%guard validate\nages.mean()")
    assert answer.error is None
    told = " ".join(answer.view["notes"])
    assert "unusual: ages" in told and "drift: ages, column 0: no longer looks like what was learned (psi " in told
    assert "mean moved by 1.5 standard deviations" in told


def test_a_schema_that_fits_nothing_says_so(kernel: Kernel) -> None:
    """The cell runs, and the view says that nothing is validated, what there is, and what the cell reads."""
    kernel.run("weights = np.ones(3)")
    kernel.run("%guard schema weights --name Weights")
    answer = kernel.run("%%guard validate\nother = n + 1\nother")

    assert answer.error is None and answer.result is not None
    assert answer.view["notes"][0].startswith("nothing is validated: the cell reads n, and only ")
    assert "Weights (of weights)" in answer.view["notes"][0]
    assert "nothing is validated" in answer.sentence


def test_profiles_and_everywhere(kernel: Kernel) -> None:
    """`%guard set` names a line, `%guard on` guards every cell until `%guard off`."""
    assert kernel.run("%guard set quick retry=2 wait=0s").shown[0][MIME]["set"]["line"] == "retry=2 wait=0s"
    _counting(kernel)
    kernel.run("%%guard quick\ntries.append(1)\nif len(tries) < 2: raise ConnectionError")
    assert kernel.run("len(tries)").result == "2"

    kernel.run("%guard on name=all")
    assert kernel.run("1 + 1").view["name"] == "all"
    kernel.run("%guard off")
    assert kernel.run("1 + 1").shown == []


def test_status_report_and_free(kernel: Kernel) -> None:
    """%guard tells the state, %guard report the cells, %guard free what holds memory."""
    kernel.run("%%guard name=reported\nballast = np.ones(3_000_000)")

    told = kernel.run("%guard").stdout
    assert re.search(r"RAM: \S+ of \S+ GiB in use, \S+ GiB of it by this notebook; the limit is the ", told)
    assert "reported: finished after " in told
    assert "reported" in kernel.run("%guard report").stdout
    assert "ballast" in kernel.run("%guard free").stdout
    assert "given back" in kernel.run("%guard free ballast").stdout
    assert kernel.run("'ballast' in globals()").result == "False"


def test_chaos_makes_attempts_fail(kernel: Kernel) -> None:
    """%guard chaos fail=1 fails every attempt of a guarded cell, also after a slip of the pen; off ends it."""
    kernel.run("%guard chaos fail=1")
    assert "did you mean fail?" in kernel.run("%guard chaos fial=0").stderr
    answer = kernel.run("%%guard retry=2 wait=0s\nran_in_chaos = True")
    kernel.run("%guard chaos off")

    assert answer.error == "TimeoutError" and len(answer.view["attempts"]) == 2
    assert kernel.run("%%guard\n'ran_in_chaos' in globals()").result == "False"


def test_export_writes_a_package(kernel: Kernel, tmp_path: Path) -> None:
    """%guard export runs the converter on the saved file, says how old that is, and where the package is."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("def one():\n    return 1\ntotal = one()")])
    nbformat.write(notebook, tmp_path / "tiny.ipynb")
    answer = kernel.run(f"%guard export {tmp_path / 'out'} {tmp_path / 'tiny.ipynb'}", timeout=120)

    assert "exporting tiny.ipynb as saved" in answer.stdout, answer.stderr
    assert (tmp_path / "out" / "pyproject.toml").is_file()
    assert "there is no" in kernel.run(f"%guard export {tmp_path / 'other'} {tmp_path / 'gone.ipynb'}").stderr
    for name in ("README.md", "src/tiny/functions.py"):
        (tmp_path / "out" / name).write_text("mine")
    notebook.cells[0].source = "total = 2"
    nbformat.write(notebook, tmp_path / "tiny.ipynb")
    kept = kernel.run(f"%guard export {tmp_path / 'out'} {tmp_path / 'tiny.ipynb'}", timeout=120).stdout
    assert "kept README.md, which was changed by hand; the new text is beside it as README.md.new" in kept
    assert "kept src/tiny/functions.py, which was changed by hand; the notebook no longer makes such a file" in kept
    notebook.cells[0].source = "return 3"
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    refused = f"%guard export {tmp_path / 'bad'} {tmp_path / 'bad.ipynb'}"
    assert "Correct it, or add --skip-bad-cells to this line." in kernel.run(refused, timeout=120).stderr
    assert "wrote" in kernel.run(f"{refused} --skip-bad-cells", timeout=120).stdout


def test_unknown_commands_name_the_nearest(kernel: Kernel) -> None:
    """%guard with a slip of the pen is one line."""
    assert "did you mean report?" in kernel.run("%guard reprot").stderr


def test_calls_of_guarded_functions_are_counted(kernel: Kernel) -> None:
    """What decorated functions did inside the cell is in the view."""
    kernel.run(
        "from mlguard_nb import retry\ncalls = []\n@retry(attempts=3, wait_initial=0, wait_max=0.001)\n"
        "def fetch():\n    calls.append(1)\n    if len(calls) < 3: raise ConnectionError\n    return 1"
    )

    assert kernel.run("%%guard\nfetch()").view["calls_inside"]["retries"] == 2


def test_a_cell_tells_its_events(kernel: Kernel) -> None:
    """A monitored cell is a call, its retries and refusals are events under its name."""
    kernel.run("from mlguard_nb.telemetry import bus\nheard = []\nstop = bus.subscribe(heard.append)\ntries = []")
    kernel.run("%%guard monitor retry=2 wait=0s name=told\ntries.append(1)\nif len(tries) < 2: raise ConnectionError")
    kernel.run("%%guard mem=1MB name=short\n1")
    told = kernel.run("stop()\n[(type(e).__name__, e.function) for e in heard]").result or ""

    assert "('RetryScheduled', 'told')" in told and "('CallFinished', 'told')" in told
    assert "('MemoryRefused', 'short')" in told


def test_need_is_promised_while_the_cell_runs(kernel: Kernel) -> None:
    """What a cell will ask for is spoken for: other guarded calls see it, and afterwards it is free again."""
    kernel.run("from mlguard_nb.runtime.admission import LEDGER\nfrom mlguard_nb import devices")
    ask = "LEDGER.outstanding(devices.shared().latest)"
    during = kernel.run(f"%%guard mem=0.95 need=512MiB\n{ask}").result or ""

    assert "RAM" in during
    assert kernel.run(ask).result == "{}"
    assert kernel.run("%%guard mem=0.95 need=900TB\n1").error == "MemoryPressure"


def test_a_forked_child_is_not_limited(kernel: Kernel) -> None:
    """The limit on allocations is the cell's own: a process forked in it, which may outlive it, has none."""
    kernel.run("import os, resource")
    answer = kernel.run(
        "%%guard mem=0.9\nown = resource.getrlimit(resource.RLIMIT_DATA)[0]\npid = os.fork()\n"
        "if pid == 0: os._exit(resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY)\n"
        "(own != resource.RLIM_INFINITY, os.waitpid(pid, 0)[1] >> 8)"
    )

    assert answer.result == "(True, 1)"
    assert kernel.run("resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY").result == "True"


def test_a_cell_runs_where_its_sentinel_cannot_start() -> None:
    """No process can be started: the lines run, and the view says that they were not watched."""
    own = Kernel()
    try:
        own.run("import sys; python, sys.executable = sys.executable, ''")
        answer = own.run("%%guard mem=0.95\nran = 5\nran")
        assert answer.result == "5" and answer.error is None
        assert "not watched while it runs: the sentinel cannot start" in answer.view["notes"][0]
        own.run("sys.executable = python")
        assert own.run("%%guard mem=0.95\n6").view["notes"] == []
    finally:
        own.close()


def test_a_cell_runs_where_its_device_is_not_there(kernel: Kernel) -> None:
    """The lines run; the view says which device is not guarded and why."""
    kernel.run(
        "from mlguard_nb.devices import machine, sampler\nfrom mlguard_nb.devices.readings import Gpu\n"
        "class OneGpu(machine.LocalMachine):\n    def gpus(self): return (Gpu('GPU-1', 0, 'A100', 80 << 30, 1 << 30, 79 << 30),)\n"
        "machine.install(OneGpu()); sampler.shared().tick(); sampler.shared().with_devices();"
    )
    answer = kernel.run("%%guard gpu=0.9 device=7\nran_without = 1")
    kernel.run("machine.install(None);")

    assert answer.error is None and kernel.run("ran_without").result == "1"
    assert any("no device is guarded" in note and "7" in note for note in answer.view["notes"])


def test_view_off_and_line(kernel: Kernel) -> None:
    """view=off shows nothing, view=line one sentence."""
    assert kernel.run("%%guard view=off\n1").shown == []
    shown = kernel.run("%%guard view=line\n1").shown
    assert len(shown) == 1 and "text/html" not in shown[0]


def test_the_view_lives_while_the_cell_runs(kernel: Kernel) -> None:
    """Updates arrive while the cell is busy, at most ten a second, and the end state is stored."""
    answer = kernel.run("%%guard mem=0.95\ntime.sleep(1.2)")

    assert 2 <= answer.updates <= 10 * answer.seconds + 1
    assert re.match(r"✓ \d\.\d s", answer.sentence)


def test_a_quick_cell_is_shown_once(kernel: Kernel) -> None:
    """Its end is all that is sent, the first time too; a cell that shows something sends its view above that."""
    quick, shows = kernel.run("%%guard\nquick = 1"), kernel.run("%%guard\nprint('seen')")

    assert (quick.updates, shows.updates) == (0, 1)
    assert (quick.view["outcome"], shows.view["outcome"]) == ("ok", "ok")


def test_peaks_are_exact(kernel: Kernel) -> None:
    """A spike that a sampler can miss is in the peak, and the view says that it is exact."""
    view = kernel.run("%%guard\nspike = np.ones(25_000_000); del spike").view

    grown = view["peak_ram_bytes"] - view["devices"][0]["own_bytes"]
    assert view["peak_ram_kind"] == "exact" and grown > 150 * 10**6


def test_documentation_and_completion(kernel: Kernel) -> None:
    """%%guard? explains every option; TAB offers them."""
    from mlguard_nb.policy.options import OPTIONS

    told = kernel.run("%%guard?")
    text = str(told.reply.get("payload")) + told.stdout
    assert [option.word for option in OPTIONS if option.word not in text] == []

    matches = kernel.reply_to(kernel.client.complete("%%guard retry=3 wa", 18))["matches"]
    assert any(match.startswith("wait=") for match in matches)
