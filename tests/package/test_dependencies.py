"""Imports become distributions with the versions of this environment."""

from __future__ import annotations

from importlib import metadata

import pytest

from mlguard_convert.dependencies import Requirement, locked, requirements, requirements_of_pip_line


def test_imports_become_distributions() -> None:
    """The module sklearn is scikit-learn; the standard library and the runtime's own module need nothing more."""
    found = requirements(["sklearn.ensemble", "os.path", "mlguard_nb", "mpl_toolkits.mplot3d", "cv2", "no_such_thing"])
    names = [one.name for one in found.requirements]
    assert names == ["matplotlib", "mlguard-nb", "no-such-thing", "opencv-python", "scikit-learn"]
    assert found.guessed == ("no_such_thing",)
    major, minor, *_ = metadata.version("scikit-learn").split(".")
    assert str(found.requirements[-1]) == f"scikit-learn~={major}.{minor}"


def test_what_a_notebook_does_without_is_an_extra() -> None:
    """Unless it is installed here: then the values that the notebook computed rest on it."""
    found = requirements(["sklearn", "cv2", "no_such_thing"], optional=("sklearn", "no_such_thing"))
    assert [one.name for one in found.requirements] == ["mlguard-nb", "opencv-python", "scikit-learn"]
    assert [one.name for one in found.extras] == ["no-such-thing"]
    assert not found.guessed


@pytest.mark.parametrize(
    ("version", "spec", "text"),
    [
        ("1.9.1", "", "x~=1.9"),
        ("2", "", "x~=2.0"),
        ("1.2.3.post1", "", "x~=1.2"),
        ("2.9.0+cpu", "", "x~=2.9"),
        ("3.0.0rc1", "", "x>=3.0.0rc1"),
        (None, "", "x"),
        (None, "==1.2", "x==1.2"),
        ("1.9.1", "==1.2", "x~=1.9"),
        ("1.9.1", "[fast]>=1", "x[fast]~=1.9"),
    ],
)
def test_a_requirement_names_the_installed_version(version: str | None, spec: str, text: str) -> None:
    """The environment the notebook ran in counts; what its pip line said only where nothing is installed."""
    assert str(Requirement("x", version, spec)) == text


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("%pip install -q scikit-learn", ("scikit-learn",)),
        ("!pip install a==1 'b[x]>=2' --index-url there -r req.txt ./local git+there .", ("a==1", "b[x]>=2")),
        ("!python -m pip install c 2>/dev/null && echo done", ("c",)),
        ("!pip3 install --upgrade d # newest", ("d",)),
        ("!uv pip install e", ("e",)),
        ("!ls pip", ()),
        ("!pip list", ()),
        ("!pip install 'open", ()),
    ],
)
def test_pip_lines_become_requirements(line: str, found: tuple[str, ...]) -> None:
    assert requirements_of_pip_line(line) == found


def test_the_lock_holds_everything_below() -> None:
    """numpy comes with pandas; every line is exact; nothing comes in through an extra that nobody asked for."""
    lines = locked([Requirement("pandas")])
    names = {line.partition("==")[0].lower() for line in lines}
    assert {"pandas", "numpy"} <= names
    assert all(metadata.version(line.partition("==")[0]) == line.partition("==")[2] for line in lines)
    assert "pytest" not in names
