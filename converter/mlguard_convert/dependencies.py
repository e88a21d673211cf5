"""Which distributions a package needs: from the modules it imports, with the versions of this environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

__all__ = ["Dependencies", "Requirement", "canonical", "locked", "requirements", "requirements_of_pip_line", "untyped"]

# Modules whose distribution has another name, for environments in which they are not installed.
_KNOWN = {
    "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv-python", "Crypto": "pycryptodome",
    "dateutil": "python-dateutil", "dotenv": "python-dotenv", "faiss": "faiss-cpu", "fitz": "PyMuPDF",
    "github": "PyGithub", "jwt": "PyJWT",
    "mpl_toolkits": "matplotlib", "OpenSSL": "pyOpenSSL", "PIL": "pillow", "pylab": "matplotlib", "serial": "pyserial",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "slugify": "python-slugify", "umap": "umap-learn",
    "usb": "pyusb", "wx": "wxPython", "yaml": "PyYAML",
}  # fmt: skip
_OWN = "mlguard-nb"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIREMENT = re.compile(_NAME.pattern + r"(?:\[[\w\s,.-]*\])?(?:\s*(?:[=<>!~]=?=?)\s*[\w.*+!-]+,?)*")
_PIP = re.compile(r"(?:^|\s)(?:python\d?(?:\.\d+)?\s+-m\s+)?(?:pip3?|uv\s+pip)\s+install\s+(?P<rest>.*)", re.DOTALL)
_TAKES_VALUE = {
    "-c", "-f", "-i", "-r", "-t", "--constraint", "--extra-index-url", "--find-links", "--index-url", "--prefix",
    "--requirement", "--target", "--trusted-host",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Requirement:
    """One distribution. `version` is the installed one, None where it is not installed here; `spec` what the notebook
    itself asked for ("[extra]", "==1.2", or empty): its extras count always, its version where none is installed.
    """

    name: str
    version: str | None = None
    spec: str = ""

    def __str__(self) -> str:
        extras = re.match(r"\[[^]]*\]", self.spec)
        if self.version is None:
            return f"{self.name}{self.spec}"
        named = f"{self.name}{extras[0] if extras else ''}"
        release = re.fullmatch(r"(\d+)(?:\.(\d+))?[\d.]*(?:\.?post\d+)?(?:\+.*)?", self.version)
        if release is None:  # a pre-release: only itself and later ones will do
            return f"{named}>={self.version.partition('+')[0]}"
        return f"{named}~={release[1]}.{release[2] or 0}"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the package declares, sorted by name, and the modules for which only the name could be guessed.

    `extras` are what it would use and does without: not installed here, and the notebook handles their absence.
    """

    requirements: tuple[Requirement, ...]
    guessed: tuple[str, ...] = ()
    extras: tuple[Requirement, ...] = ()


def requirements(
    modules: Iterable[str],
    asked: Iterable[str] = (),
    *,
    optional: Collection[str] = (),
    with_pydantic: bool = False,
) -> Dependencies:
    """The distributions behind the top-level `modules`, those `asked` for by pip lines, and the runtime itself.

    Of the `optional` modules those that are installed here are needed like any other: the values rest on them.

    Modules of the standard library need nothing. A module of several distributions (a namespace) is ascribed to
    those that are installed. Nothing is imported.
    """
    found: dict[str, Requirement] = {}
    guessed: list[str] = []
    extras: list[Requirement] = []

    def add(requirement: Requirement) -> None:
        key = canonical(requirement.name)
        if key not in found or requirement.spec:
            found[key] = requirement

    for module in sorted({name.partition(".")[0] for name in modules}):
        if module in sys.stdlib_module_names or module in ("", "mlguard_nb"):
            continue
        names = _distributions().get(module)
        if names is None:
            name = _KNOWN.get(module, module.replace("_", "-"))
            if module in optional:
                extras.append(Requirement(name))
                continue
            if module not in _KNOWN:
                guessed.append(module)
            names = (name,)
        for name in names:
            add(Requirement(name, _version(name)))
    for text in asked:
        match = _NAME.match(text)
        if match is not None:
            known = found.get(canonical(match[0]))
            name = known.name if known is not None else match[0]
            add(Requirement(name, _version(name), text[match.end() :].strip()))
    if with_pydantic:
        add(Requirement("pydantic", _version("pydantic")))
    add(Requirement(_OWN, _version(_OWN)))
    extras = [one for one in extras if canonical(one.name) not in found]
    return Dependencies(tuple(found[key] for key in sorted(found)), tuple(guessed), tuple(extras))


def requirements_of_pip_line(line: str) -> tuple[str, ...]:
    """The requirements in `%pip install a "b>=2"` or `!pip install a`; options, files and addresses are left out."""
    match = _PIP.search(line.lstrip("!%"))
    if match is None:
        return ()
    rest = re.split(r"[;|&#]|>\s|2>", match["rest"], maxsplit=1)[0] if not _quoted(match["rest"]) else match["rest"]
    found: list[str] = []
    skip = False
    for word in _words(rest):
        if skip or word.startswith("-"):
            skip = not skip and word in _TAKES_VALUE
        elif _REQUIREMENT.fullmatch(word):
            found.append(word)
    return tuple(found)


def locked(needed: Iterable[Requirement]) -> tuple[str, ...]:
    """`needed` and everything below it as `name==version`, as installed here; what is not installed is left out."""
    exact: dict[str, str] = {}
    waiting = [one.name for one in needed]
    while waiting:
        name = waiting.pop()
        key = canonical(name)
        if key in exact:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        exact[key] = f"{distribution.metadata['Name']}=={distribution.version}"
        waiting.extend(_needs(distribution))
    return tuple(exact[key] for key in sorted(exact))


def _needs(distribution: metadata.Distribution) -> list[str]:
    """The names of what a distribution requires here without any extra."""
    names: list[str] = []
    for text in distribution.requires or ():
        requirement, _, marker = text.partition(";")
        match = _NAME.match(requirement.strip())
        if match is not None and _applies(marker):
            names.append(match[0])
    return names


def _applies(marker: str) -> bool:
    if not marker.strip():
        return True
    if re.search(r"\bextra\b", marker):
        return False
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(marker.strip()).evaluate()
    except InvalidMarker:
        return False


def untyped(modules: Iterable[str]) -> tuple[str, ...]:
    """Those of the top-level `modules` that carry no types here: no py.typed, no stubs, or not installed at all."""
    from importlib.machinery import PathFinder

    def is_typed(name: str) -> bool:
        if PathFinder.find_spec(f"{name}-stubs") is not None:
            return True
        spec = PathFinder.find_spec(name)
        places = spec.submodule_search_locations if spec is not None else None
        return any((Path(place) / "py.typed").is_file() for place in places or ())

    others = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"", "mlguard_nb"}
    return tuple(sorted(name for name in others if not is_typed(name)))


def canonical(name: str) -> str:
    """The spelling under which an index compares distribution names."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _distributions() -> dict[str, tuple[str, ...]]:
    """Module to distributions; of an editable or a twice-installed one each name once."""
    return {
        module: tuple(sorted({canonical(name): name for name in names}.values()))
        for module, names in metadata.packages_distributions().items()
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _quoted(text: str) -> bool:
    return '"' in text or "'" in text


def _words(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text, comments=True)
    except ValueError:  # an open quote: the shell would refuse the line too
        return []
