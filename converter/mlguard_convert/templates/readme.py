"""The README of an exported package: what it is, how to run it, its steps, and what was changed and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlguard_convert.dependencies import canonical
from mlguard_convert.planning.prose import printable
from mlguard_convert.templates.kubernetes import name_of, services

if TYPE_CHECKING:
    from mlguard_convert.package import Package, StepRow
    from mlguard_convert.plan import Change

__all__ = ["cells_text", "readme"]

_NAMED = 5


def readme(package: Package) -> str:
    """The whole text."""
    if package.parts:
        return _of_several(package)
    parts = [
        f"# {package.name}\n\n{package.description}\n\n{_origin(package)}\n",
        _steps(package.steps),
        _changes(package.changes),
        _tests(package),
    ]
    return "\n".join(part for part in parts if part)


def _of_several(package: Package) -> str:
    commands = "".join(f"    {one.command} run --base-dir DIR    runs {_line(one.notebook)}\n" for one in package.parts)
    texts = [f"# {package.name}\n\n{package.description}\n\n`pip install .`, then:\n\n{commands}"]
    for one in package.parts:
        texts.append(f"## {one.name}\n\n{one.description}\n\n{_origin(one)}\n")
        texts += [_steps(one.steps), _changes(one.changes).replace("## ", "### ", 1)]
    return "\n".join(text for text in [*texts, _tests(package)] if text)


def _origin(package: Package) -> str:
    command = package.command
    option = f" {package.example_option}" if package.example_option else ""
    cells = f"{package.code_cells} code cell{'s' if package.code_cells != 1 else ''}"
    shown = f"run()[{package.example_result!r}]" if package.example_result else "run()"
    call = f"import asyncio; from {package.name} import run; print(asyncio.{shown.replace('run()', 'run(run())')})"
    plain = f"from {package.name} import run; print({shown})"
    return (
        f"Exported from {_code(package.notebook)} ({cells}, sha256 `{package.notebook_sha256[:8]}…`). "
        f"`pip install .`, then:\n\n"
        f"    {command} run --base-dir DIR{option}    run it; `{command} run --help` lists every parameter\n"
        f'    python -c "{call if package.is_async else plain}"{_served(package)}{_extras(package)}'
    )


def _extras(package: Package) -> str:
    """What was not installed when the notebook was exported, and is used where it is."""
    return "".join(
        f"\n\n`pip install '.[{canonical(one.name)}]'` adds {one.name}: it was not installed here, "
        "and the notebook does without."
        for one in package.extras
    )


def _served(package: Package) -> str:
    """How to call the functions over HTTP, where there are any."""
    if not package.served:
        return ""
    run, serve = f"{package.command} run --save results", f"{package.command} serve"
    names = ", ".join(f"`{name}`" for name in package.served[:_NAMED])
    more = f" and {len(package.served) - _NAMED} more" if len(package.served) > _NAMED else ""
    command = f"{run} && {serve} --from results" if package.serves_results else serve
    return f"\n\n`pip install '.[serve]'`, then call {names}{more} over HTTP:\n\n    {command}"


def _steps(steps: tuple[StepRow, ...]) -> str:
    if not steps:
        return ""
    lines = ["| step | cell | guards | reads | gives |", "|---|---|---|---|---|"]
    for step in steps:
        gives = [*(f"`{name}`" for name in step.gives), *(f"`{path}`" for path in step.figures)]
        cells = [
            f"`{step.name}`",
            cells_text(step.cells),
            "; ".join(step.guards),
            ", ".join(f"`{name}`" for name in step.reads),
            ", ".join(gives),
        ]
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def _changes(changes: tuple[Change, ...]) -> str:
    if not changes:
        return ""
    lines = ["## What was changed, and why", "| cell | change |", "|---|---|"]
    lines.extend(f"| {cells_text(change.cells)} | {_cell(change.text)} |" for change in changes)
    return "\n".join(lines) + "\n"


def _tests(package: Package) -> str:
    lines = ["## Tests", f"`pip install '.[test]' && pytest`. {_recorded(package)}"]
    needed = [
        _code(name) for one in package.parts or (package,) for name, is_needed in one.secrets.items() if is_needed
    ]
    if needed:
        lines.append(f"Where {' or '.join(needed)} is not set, they run with a stand-in for that secret.")
    if package.data:
        lines.append("The data that the notebook read lies in `tests/data`.")
    if package.too_large:
        names = ", ".join(map(_code, package.too_large))
        lines.append(
            f"{names} did not travel with the package: put it below `tests/data`, or export with `--pack-data`."
        )
    lines.append("")
    lines.append(
        f"`docker build -t {package.command} .` builds an image; `wheels/` takes what no index has, "
        "such as a local wheel of mlguard-nb."
    )
    if package.kubernetes is not None:
        claim = f"{name_of(package.command)}-data"
        lines.append(
            f"`kubectl apply -f kubernetes/job.yaml` runs it once, without rights, on the volume claim `{claim}`."
        )
        secrets = [f"`{name_of(one.command)}`" for one in package.parts or (package,) if one.secrets]
        if secrets:
            lines.append(
                f"Its secrets come from the Kubernetes secret {' and '.join(secrets)}, under the variables' names."
            )
        if services(package):
            lines.append(
                "`kubernetes/serve.yaml` serves its functions, and takes no requests while memory is short (`/ready`)."
            )
    return "\n".join(lines) + "\n"


def _recorded(package: Package) -> str:
    if package.parts and all(one.recorded is not None for one in package.parts):
        return (
            "They run each pipeline and compare its results with what the notebook computed (`tests/recorded_*.json`)."
        )
    if package.recorded is not None:
        return "They run the pipeline and compare each result with what the notebook computed (`tests/recorded.json`)."
    return (
        "They run the pipeline and expect each of its results to be there. The notebook was not run at export, so its "
        "values are not recorded: export with `--verify` to compare them too."
    )


def cells_text(cells: tuple[int, ...]) -> str:
    """(3, 4, 5, 10) as "3-5, 10"."""
    ranges: list[tuple[int, int]] = []
    for cell in sorted(set(cells)):
        if ranges and cell == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], cell)
        else:
            ranges.append((cell, cell))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _cell(text: str) -> str:
    """`text` as it may stand in a table: on one line, bars escaped."""
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    """`text` on one line, without characters that nobody sees."""
    return printable(re.sub(r"\s+", " ", text)).strip()


def _code(name: str) -> str:
    """A name as code on one line, whatever it is made of."""
    text = _line(name)
    return f"`` {text.replace('``', '` `')} ``" if "`" in text else f"`{text}`"
