"""pyproject.toml, the lock file, the container and what is left out of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mlguard_convert.dependencies import canonical
from mlguard_convert.package import Package
from mlguard_convert.planning.prose import is_hidden

__all__ = ["LINT_EXCEPTIONS", "dockerfile", "dockerignore", "lock", "pyproject"]

# Per-file, since `ruff check --select ALL` on the command line would override any other exception.
LINT_EXCEPTIONS = {
    "**/*.py": {
        "COM812": "the formatter decides on commas",
        "CPY001": "a licence is for you to choose",
        "D401": "docstrings keep the notebook's headings",
    },
    "tests/*.py": {
        "INP001": "tests are no package",
        "S101": "they assert",
        "S603": "they start the command",
    },
}
# What only a type checker finds in statements that run well; a name that is not defined is never among them.
_LOOSE_TYPES = (
    "arg-type", "assignment", "attr-defined", "call-arg", "call-overload", "dict-item", "index", "list-item", "misc",
    "no-redef", "operator", "return-value", "type-var", "union-attr", "var-annotated",
)  # fmt: skip


_EXTRAS = {"serve": ("fastapi>=0.110", "mlguard-nb[prometheus]", "uvicorn>=0.29"), "test": ("pytest>=8",)}


def pyproject(package: Package) -> str:
    """The project's metadata, its command, and how its code is checked."""
    dependencies = "".join(f"    {_text(str(requirement))},\n" for requirement in package.requirements)
    major, minor = package.python
    return f"""[project]
name = {_text(package.command)}
version = "0.1.0"
description = {_text(package.description)}
readme = "README.md"
requires-python = ">={major}.{minor}"
dependencies = [
{dependencies}]

[project.optional-dependencies]
{_extras(package)}

[project.scripts]
{_scripts(package)}

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/{package.name}"]

[tool.hatch.build.targets.wheel.force-include]
"pyproject.toml" = "{package.name}/pyproject.toml"  # the installed command reads [tool.mlguard] from it

[tool.mlguard]
{_origin(package)}

{_resources(package)}[tool.ruff]
line-length = 120

[tool.ruff.lint]
select = ["ALL"]
ignore = ["D203", "D213"]  # they exclude D211 and D212

[tool.ruff.lint.per-file-ignores]
{_lint(package)}
{_types(package)}"""


def _extras(package: Package) -> str:
    """What a user may add: serving, testing, and each library that the notebook does without."""
    extras = {canonical(one.name): (str(one),) for one in package.extras} | _EXTRAS
    return "\n".join(f"{name} = [{_listed(extras[name])}]" for name in sorted(extras))


def _scripts(package: Package) -> str:
    return "\n".join(f'{one.command} = "{one.name}.__main__:main"' for one in package.parts or (package,))


def _origin(package: Package) -> str:
    if not package.parts:
        return f"notebook = {_text(package.notebook)}"
    return f"notebooks = [{_listed(one.notebook for one in package.parts)}]"


def _resources(package: Package) -> str:
    """What steps ask a cluster for under `run --engine ray`."""
    if not package.requests:
        return ""
    lines = [
        f"{name if name.isidentifier() and name.isascii() else _text(name)} = {table}"
        for name, table in package.requests
    ]
    comment = "# What `run --engine ray` asks the cluster for, by step; num_cpus is known too."
    return "\n".join(["[tool.mlguard.resources]", comment, *lines]) + "\n\n"


def _lint(package: Package) -> str:
    """The exceptions: a fixed few, and under each file the habits of the notebook that its code keeps."""
    lines = [_excepted(path, codes) for path, codes in LINT_EXCEPTIONS.items()]
    if package.lint_ignored:
        lines.append("# The notebook's own habits, kept as they are.\n")
        lines += [_excepted(path, codes) for path, codes in sorted(package.lint_ignored.items())]
    return "".join(lines)


def _excepted(path: str, codes: Mapping[str, str]) -> str:
    return f"{_text(path)} = [\n" + "".join(f'    "{code}",  # {why}\n' for code, why in sorted(codes.items())) + "]\n"


def _types(package: Package) -> str:
    """How mypy is to look at the package."""
    text = """[tool.mypy]
files = ["src", "tests"]
"""
    if package.untyped:
        text += f"""
[[tool.mypy.overrides]]
# Libraries without type information.
module = [{_listed(f"{name}.*" for name in package.untyped)}]
ignore_missing_imports = true
"""
    modules = sorted(path[4:-3].replace("/", ".") for path in package.modules if _holds_cells(path))
    return f"""{text}
[[tool.mypy.overrides]]
# The notebook's own statements were not written for a type checker. What passes between steps is checked in full.
module = [{_listed(modules)}]
disable_error_code = [{_listed(_LOOSE_TYPES)}]
"""


def _holds_cells(path: str) -> bool:
    return path.endswith(("/steps.py", "/functions.py", "/shared.py")) or "/vendor/" in path


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(_text(text) for text in texts)


def lock(package: Package) -> str:
    """The exact environment that the notebook was exported from."""
    return "".join(f"{line}\n" for line in package.locked)


def dockerfile(package: Package) -> str:
    """An image that runs the command; `wheels/` holds what no index has."""
    major, minor = package.python
    first = (package.parts or (package,))[0]
    served = any(part.kubernetes and part.kubernetes.serve for part in package.parts or (package,))
    install = "--find-links wheels -c requirements.lock '.[serve]'" if served else "--no-deps ."
    others = "".join(f"# docker run --entrypoint {one.command} runs {one.name}.\n" for one in package.parts[1:])
    return f"""FROM python:{major}.{minor}-slim
WORKDIR /app
COPY requirements.lock pyproject.toml README.md ./
COPY wheels/ wheels/
COPY src/ src/
RUN pip install --no-cache-dir --find-links wheels -r requirements.lock && pip install --no-cache-dir {install}
# nobody has no home, where libraries would keep their caches.
USER nobody
ENV HOME=/tmp
{others}ENTRYPOINT ["{first.command}"]
CMD ["run", "--base-dir", "/data"]
"""


def dockerignore() -> str:
    """Everything but what the image needs."""
    return "*\n!pyproject.toml\n!README.md\n!requirements.lock\n!src\n!wheels\n"


def _text(value: str) -> str:
    """A TOML string: what JSON writes, without what TOML does not take raw and what a reader would not see."""
    clean = json.dumps(value.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)
    return "".join(f"\\u{ord(char):04x}" if is_hidden(char) else char for char in clean)
