"""Does the package compute what the notebook computes: both are run, and every final value is compared by name."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from mlguard_convert.notebook_run import NotebookRun, run_notebook
from mlguard_nb.pipeline.comparing import compare, shortened
from mlguard_nb.pipeline.portable import Portable

__all__ = ["STAND_IN", "Compared", "Row", "Verification", "compare_names", "compare_runs", "observe", "verify"]

Progress = Callable[[str, int, int], None]
_KINDS = ("module", "function", "class")
_LARGEST_COPY = 300 * 2**20
_MOST_FILES = 5_000
_STARTING_SECONDS = 60
STAND_IN = "a stand-in"  # what the package's own tests give it, too, for a secret that is not there
_LEFT_OUT = (".git", ".venv", "venv", "node_modules", ".ipynb_checkpoints", "__pycache__", ".mypy_cache")


@dataclass(frozen=True, slots=True)
class Row:
    """One final name. `equal` None: not compared, `how` says why. `notebook` and `package` show the two values."""

    name: str
    equal: bool | None
    how: str
    detail: str
    notebook: str
    package: str


class Compared(NamedTuple):
    """`rows` with those first that differ; `unstable` names; of names that showing changes their values before that."""

    rows: tuple[Row, ...]
    unstable: tuple[str, ...]
    unshown: dict[str, Portable]


@dataclass(frozen=True, slots=True)
class Verification:
    """Every final name of the notebook beside the package's. `unstable` names differ between two runs of the
    notebook itself and count neither way. `error` says what could not be run; then there are no rows. `values` are
    the notebook's, without what only showing them adds; `files` what the package read below the folder, `modules` the
    top-level modules it had loaded, `types` those of its steps' arguments as "step(name)" and outputs as "step.name".
    Seconds are of a whole run, the start of its process included; peaks are what the kernel, and the package's
    process, held at most, None where the system does not say. `hidden` names hold a secret, or are made of one:
    nobody tells their value.
    """

    rows: tuple[Row, ...] = ()
    unstable: tuple[str, ...] = ()
    error: str | None = None
    notebook_seconds: float = 0.0
    package_seconds: float = 0.0
    notebook_peak_bytes: int | None = None
    package_peak_bytes: int | None = None
    values: Mapping[str, Portable] = field(default_factory=dict, repr=False)
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: frozenset[str] = frozenset()

    @property
    def ok(self) -> bool:
        """Whether both ran and no stable value differs."""
        return self.error is None and all(row.equal is not False for row in self.rows)

    def sentence(self) -> str:
        """The outcome in one line."""
        if self.error is not None:
            return f"not compared: {self.error}"
        counts = [sum(1 for row in self.rows if row.equal is state) for state in (True, False, None)]
        equal = f"{counts[0]} of {len(self.rows)} final values are equal"
        differ = f", {counts[1]} differ{'s' if counts[1] == 1 else ''}" if counts[1] else ""
        left = f", {counts[2]} {'is' if counts[2] == 1 else 'are'} not compared" if counts[2] else ""
        return f"{equal}{differ}{left}"

    def hiding(self, secrets: Collection[str]) -> Verification:
        """The same; of hidden names, and of those whose value holds one of the `secrets`, the rows tell the outcome
        and no value.
        """
        names = self.hidden.union(name for name, value in self.values.items() if secrets and _holds(value, secrets))
        rows = [
            Row(row.name, row.equal, row.how, "not shown: it is made of a secret", "", "") if row.name in names else row
            for row in self.rows
        ]
        return replace(self, rows=tuple(rows), hidden=names)

    def costs(self) -> str:
        """Time and memory of both runs in one line; "" where the package was not run."""
        if not self.package_seconds:
            return ""
        notebook = _cost(self.notebook_seconds, self.notebook_peak_bytes)
        return f"the notebook took {notebook}, the package {_cost(self.package_seconds, self.package_peak_bytes)}"


def verify(
    notebook: str | Path,
    package_folder: str | Path,
    *,
    python: str | None = None,
    base_dir: str | Path | None = None,
    progress: Progress | None = None,
    skip: Collection[int] = (),
    order: Sequence[int] | None = None,
    timeout: float | None = None,
    first: NotebookRun | None = None,
    module: str | None = None,
    secrets: Mapping[str, str | None] | None = None,
) -> Verification:
    """Run the notebook in a fresh kernel of this interpreter and the package's `run()` in another process; compare.

    `python` is the interpreter in which the package runs (None: this one, with the package's `src` on its path);
    it needs the runtime and the package's dependencies, nothing of Jupyter. `base_dir` is where relative paths start
    (None: the notebook's folder). Both work on fresh copies of it, so neither sees what the other wrote; a folder
    that is too large, or a notebook that leaves it by `../`, is used in place. `timeout` is of one cell in seconds;
    the package as a whole gets so much beyond three times what the notebook took. None: neither has a limit.
    `first` is a run that `observe` has made before. `module` is the importable name of the package (None: the only
    one below src/). `secrets` are the environment variables of the package's secrets with the notebook's values; those
    that are None are taken out. Then it runs once more with a stand-in for each: what differs is made of a secret.
    """
    path, package = Path(notebook).absolute(), Path(package_folder).absolute()
    source = Path(base_dir).absolute() if base_dir is not None else path.parent
    own = tuple(file.stem for file in package.glob("src/**/vendor/**/*.py"))
    tell = progress or (lambda text, done, of: None)
    with tempfile.TemporaryDirectory(prefix="mlguard-verify-") as scratch, _workplace(source, path, scratch) as fresh:

        def notebook_once(text: str, *, shown: bool = True) -> NotebookRun:
            told = partial(tell, text)
            return run_notebook(
                path, fresh(), skip=skip, order=order, own=own, shown=shown, timeout=timeout, progress=told
            )

        first = first or notebook_once("running the notebook")
        seen = Verification(
            error=first.error,
            notebook_seconds=first.seconds,
            notebook_peak_bytes=first.peak_bytes,
            values=first.values,
        )
        if first.error is not None:
            return seen
        tell("running the package", 0, 1)
        started = monotonic()
        limit = None if timeout is None else timeout + 3 * first.seconds + _STARTING_SECONDS
        run = partial(_run_package, package, Path(scratch), python, module, limit)
        found = run(fresh(), secrets or {})
        seen = replace(seen, package_seconds=monotonic() - started)
        if isinstance(found, str):
            return replace(seen, error=found)
        tell("comparing what both ended with", 0, 1)
        compared = compare_runs(
            first.values,
            found,
            partial(notebook_once, "running the notebook a second time"),
            partial(notebook_once, "running the notebook without its displays", shown=False),
        )
        stand_ins = {name: value and STAND_IN for name, value in (secrets or {}).items()}
        hidden = _differing(found, run(fresh(), stand_ins)) if any(stand_ins.values()) else frozenset[str]()
    return replace(
        seen,
        rows=compared.rows,
        unstable=compared.unstable,
        values={**first.values, **compared.unshown},
        package_peak_bytes=found["peak_bytes"],
        files=tuple(found["files"]),
        modules=tuple(found["modules"]),
        types=found["types"],
        hidden=hidden,
    )


def observe(
    notebook: Path,
    *,
    progress: Progress,
    skip: Collection[int] = (),
    order: Sequence[int] | None = None,
    timeout: float | None = None,
) -> NotebookRun:
    """Run the notebook alone, on a copy of its folder as `verify` does: its values, and its file with new outputs."""
    path = notebook.absolute()
    told = partial(progress, "running the notebook")
    with (
        tempfile.TemporaryDirectory(prefix="mlguard-verify-") as scratch,
        _workplace(path.parent, path, scratch) as fresh,
    ):
        return run_notebook(path, fresh(), skip=skip, order=order, timeout=timeout, progress=told)


@contextmanager
def _workplace(source: Path, notebook: Path, scratch: str) -> Iterator[Callable[[], Path]]:
    """A function that gives the folder to run in, each time as the user left it."""
    if not _can_copy(source, notebook):
        yield lambda: source
        return
    work = Path(scratch) / "work"

    def fresh() -> Path:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        return work

    yield fresh


def _can_copy(source: Path, notebook: Path) -> bool:
    if "../" in notebook.read_text(encoding="utf-8", errors="replace"):
        return False
    size = count = 0
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        count += len(files)
        for name in files:
            file = Path(folder) / name
            size += file.lstat().st_size if file.exists() else 0
        if size > _LARGEST_COPY or count > _MOST_FILES:
            return False
    return True


def _run_package(
    package: Path,
    scratch: Path,
    python: str | None,
    module: str | None,
    limit: float | None,
    work: Path,
    variables: Mapping[str, str | None],
) -> dict[str, Any] | str:
    """What the package's steps ended with in `work`, or one line that says why it did not run in `limit` seconds."""
    sources = package / "src"
    names = [module] if module else [one.name for one in sources.iterdir() if (one / "__init__.py").is_file()]
    if not names:
        return f"{package} holds no package below src/"
    out, elsewhere = scratch / "package.pickle", scratch / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    paths = [str(sources), *([os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") and python is None else [])]
    given = {**os.environ, **variables}
    environment = {
        **{name: value for name, value in given.items() if value is not None},
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "agg",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [python or sys.executable, "-m", "mlguard_nb.pipeline.replaying", names[0], "--out", str(out)]
    command += ["--base-dir", str(work)]
    try:
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the package runs longer than {limit:.0f} s, so it was stopped"
    if done.returncode != 0 or not out.exists():
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        where = next(
            (line.strip() for line in reversed(lines) if f"{os.sep}{names[0].replace('.', os.sep)}{os.sep}" in line), ""
        )
        return f"the package fails: {lines[-1].strip()}{f' ({_place(where)})' if where else ''}"
    found: dict[str, Any] = pickle.loads(out.read_bytes())
    return found


def _place(line: str) -> str:
    """`File "/a/b/src/churn/steps.py", line 12, in train` without the folders above the package."""
    _, _, rest = line.partition(f"{os.sep}src{os.sep}")
    return rest.replace('"', "") or line


def compare_runs(
    values: Mapping[str, Portable],
    found: Mapping[str, Any],
    again: Callable[[], NotebookRun],
    unshown: Callable[[], NotebookRun],
) -> Compared:
    """The final names of the notebook beside those of a package.

    Where a row differs the notebook is run `again`. Where one still does it is run `unshown`: a line that shows an
    object, or a part of one, may change it (it is drawn, and keeps what was drawn), and a package shows nothing.
    """
    rows = compare_names(values, found)
    unstable: set[str] = set()
    if any(row.equal is False for row in rows):
        second = again()
        unstable = {name for name, value in values.items() if not _same(value, second.values.get(name))}
        rows = [_apart(row) if row.name in unstable and row.equal is False else row for row in rows]
    changed: dict[str, Portable] = {}
    if any(row.equal is False for row in rows):
        before = unshown().values
        equal = {row.name for row in compare_names(before, found) if row.equal}
        changed = {row.name: before[row.name] for row in rows if row.equal is False and row.name in equal}
        rows = [_unshown(row) if row.name in changed else row for row in rows]
    ranked = sorted(rows, key=lambda row: {False: 0, None: 1, True: 2}[row.equal])
    return Compared(tuple(ranked), tuple(sorted(unstable)), changed)


def compare_names(values: Mapping[str, Portable], found: Mapping[str, Any]) -> list[Row]:
    """Each final name of the notebook beside what `found` has under it: in "results", else in "locals"."""
    rows: list[Row] = []
    for name, value in values.items():
        other = found["results"].get(name, found["locals"].get(name))
        if value.get("kind") not in _KINDS and str(value["type"]).startswith(("IPython.", "ipywidgets.")):
            rows.append(Row(name, None, "notebook only", "an object of the notebook itself", _shown(value), ""))
            continue
        if other is None:
            if value.get("kind") in _KINDS:  # imports and definitions: the package has those it uses, in its modules
                continue
            rows.append(Row(name, False, "missing", "the package has no such name", _shown(value), ""))
            continue
        result = compare(value, other)
        if value.get("kind") in _KINDS and result.equal:
            continue
        if result.how in ("kind", "type only") and result.equal:
            why = "a picture: saved, not compared" if value.get("kind") == "figure" else f"same type: {result.how}"
            rows.append(Row(name, None if value.get("kind") == "figure" else True, result.how, why, "", ""))
            continue
        rows.append(Row(name, result.equal, result.how, result.detail, _shown(value), _shown(other)))
    return rows


def _cost(seconds: float, peak: int | None) -> str:
    return f"{seconds:.1f} s" + ("" if peak is None else f" and {peak / 2**20:,.0f} MiB")


def _same(one: Portable, other: Portable | None) -> bool:
    return other is not None and compare(one, other).equal


def _differing(found: Mapping[str, Any], other: Mapping[str, Any] | str) -> frozenset[str]:
    """The names of a run of the package that have another value in another run; none where that failed."""
    if isinstance(other, str):
        return frozenset()
    parts = [(found[part], other[part]) for part in ("results", "locals")]
    return frozenset(name for one, two in parts for name, value in one.items() if not _same(value, two.get(name)))


def _apart(row: Row) -> Row:
    return Row(row.name, None, "unstable", "new in every run of the notebook itself", row.notebook, row.package)


def _unshown(row: Row) -> Row:
    return replace(row, equal=True, how="unshown", detail="equal until the notebook shows it, which changes it")


def _holds(value: Any, texts: Collection[str]) -> bool:
    """Whether one of the texts stands somewhere in a value."""
    if isinstance(value, str):
        return any(text in value for text in texts)
    if isinstance(value, Mapping):
        return any(_holds(part, texts) for pair in value.items() for part in pair)
    return isinstance(value, (list, tuple)) and any(_holds(part, texts) for part in value)


def _shown(value: Portable) -> str:
    """A value in a few characters: the value itself, or its type and size."""
    if "value" in value:
        return shortened(value["value"])
    kind = str(value["type"]).rpartition(".")[2]
    if "shape" in value:
        return f"{value.get('dtype_name') or kind} {' × '.join(str(size) for size in value['shape'])}".strip()
    for part in ("items", "pairs"):
        if part in value:
            return f"{kind} of {len(value[part])}"
    return kind
