"""A package appears whole or not at all, and edits are never lost."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlguard_convert.package_writer import MANIFEST, Written, check_target, package_files, place, staged
from mlguard_nb.errors import ConversionError
from tests.package.notebooks import PACKAGE

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ORIGIN = {"notebook": "tally.ipynb", "sha256": "ab" * 32}


def write(target: Path, files: dict[str, bytes], *, force: bool = False) -> Written:
    with staged(files, target, "tally.ipynb") as folder:
        return place(folder, target, ORIGIN, force=force)


FILES = {"a.py": b"a = 1\n", "deep/b.py": b"b = 1\n"}


def test_a_new_package_appears_in_one_move(tmp_path: Path) -> None:
    """Also into an empty folder; nothing else is left beside it."""
    target = tmp_path / "tally"
    written = write(target, FILES)
    assert sorted(written.files) == [MANIFEST, "a.py", "deep/b.py"]
    assert (target / "deep/b.py").read_bytes() == b"b = 1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["tally"]
    empty = tmp_path / "empty"
    empty.mkdir()
    write(empty, FILES)
    assert (empty / "a.py").exists()


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C between writing and moving: the target was never there."""

    def interrupted(target: Path) -> None:
        with staged(FILES, target, "tally.ipynb") as folder:
            assert (folder / "a.py").exists()
            raise KeyboardInterrupt

    for target in (tmp_path / "tally", tmp_path / "new" / "folders" / "tally"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(target)
        assert list(tmp_path.iterdir()) == []


# A process that may write no file longer than 1,000 bytes: what a full disk does, without one.
FULL = """
import resource, sys
from pathlib import Path
from mlguard_convert.package_writer import staged
from mlguard_nb.errors import ConversionError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with staged({"a.py": b"short", "b.py": b"x" * 2000}, Path(sys.argv[1]), "tally.ipynb"):
        print("written")
except ConversionError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED here: this system limits no file's length")
def test_a_disk_that_takes_no_more_is_one_clear_line(tmp_path: Path) -> None:
    """What, where, why and the next step; nothing half-written remains, nor the folders made for it."""
    target = tmp_path / "exports" / "tally"
    said = subprocess.run([sys.executable, "-c", FULL, target], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith(
        f"{target} cannot be written: File too large. Make room there, or choose another output."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_second_export_replaces_what_nobody_touched(tmp_path: Path) -> None:
    """Files of the first export that are gone now are removed, files of others stay."""
    target = tmp_path / "tally"
    write(target, FILES)
    (target / "mine.txt").write_text("mine")
    written = write(target, {"a.py": b"a = 2\n"})
    assert written.kept == ()
    assert (target / "a.py").read_bytes() == b"a = 2\n"
    assert not (target / "deep/b.py").exists()
    assert (target / "mine.txt").read_text() == "mine"


def test_a_file_changed_by_hand_is_kept_and_the_new_one_lies_beside_it(tmp_path: Path) -> None:
    """Also a second and a third time, and also a file that the package brings and somebody else had made."""
    target = tmp_path / "tally"
    write(target, FILES)
    (target / "a.py").write_text("edited\n")
    (target / "new.py").write_text("mine\n")
    for text in (b"a = 2\n", b"a = 3\n"):
        written = write(target, {**FILES, "a.py": text, "new.py": b"theirs\n"})
        assert written.kept == ("a.py", "new.py")
        assert (target / "a.py").read_text() == "edited\n"
        assert (target / "a.py.new").read_bytes() == text
        assert (target / "new.py").read_text() == "mine\n"


def test_an_edited_file_that_is_no_longer_made_stays_and_is_told_each_time(tmp_path: Path) -> None:
    """Until it is gone, or is again what was written. Force does not lose it either."""
    target = tmp_path / "tally"
    write(target, FILES)
    (target / "deep/b.py").write_text("edited\n")
    assert write(target, {**FILES, "deep/b.py": b"b = 9\n"}).kept == ("deep/b.py",)
    for force in (False, True):
        written = write(target, {"a.py": b"a = 1\n"}, force=force)
        assert (written.kept, written.left) == ((), ("deep/b.py",))
        assert "deep/b.py" not in written.files
        assert (target / "deep/b.py").read_text() == "edited\n"
    assert write(target, {**FILES, "deep/b.py": b"b = 9\n"}).kept == ("deep/b.py",), "made again: an edit as any other"
    write(target, {"a.py": b"a = 1\n"})
    (target / "deep/b.py").write_bytes(b"b = 9\n")
    assert write(target, {"a.py": b"a = 1\n"}).left == ()
    assert not (target / "deep/b.py").exists()


def test_an_edit_is_left_in_peace_when_there_is_nothing_new(tmp_path: Path) -> None:
    """The same export again offers no a.py.new, and speaks of none: the edit is the only difference."""
    target = tmp_path / "tally"
    write(target, FILES)
    (target / "a.py").write_text("edited\n")
    assert write(target, FILES).kept == ()
    assert not (target / "a.py.new").exists()
    assert (target / "a.py").read_text() == "edited\n"
    assert write(target, {**FILES, "a.py": b"a = 2\n"}).kept == ("a.py",)
    assert write(target, {**FILES, "a.py": b"a = 2\n"}).kept == ("a.py",), "it still lies there"


def test_an_edit_that_was_taken_over_ends_the_matter(tmp_path: Path) -> None:
    """Once the file is what the export writes, the .new goes away."""
    target = tmp_path / "tally"
    write(target, FILES)
    (target / "a.py").write_text("edited\n")
    write(target, {**FILES, "a.py": b"a = 2\n"})
    (target / "a.py").write_bytes(b"a = 2\n")
    assert write(target, {**FILES, "a.py": b"a = 2\n"}).kept == ()
    assert not (target / "a.py.new").exists()


def test_force_overwrites_edits(tmp_path: Path) -> None:
    target = tmp_path / "tally"
    write(target, FILES)
    (target / "a.py").write_text("edited\n")
    assert write(target, FILES, force=True).kept == ()
    assert (target / "a.py").read_bytes() == b"a = 1\n"


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """One clear line; --force writes into it and leaves the rest alone."""
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.md").write_text("1")
    with pytest.raises(ConversionError, match="was not written by mlguard-nb export") as caught:
        check_target(target, "n.ipynb", force=False)
    assert str(caught.value).count("\n") == 0
    check_target(target, "n.ipynb", force=True)
    with pytest.raises(ConversionError, match="is a file"):
        check_target(target / "chapter.md", "n.ipynb", force=True)
    check_target(tmp_path / "new", "n.ipynb", force=False)
    write(tmp_path / "ours", FILES)
    check_target(tmp_path / "ours", "n.ipynb", force=False)


def test_a_manifest_never_deletes_outside_its_folder(tmp_path: Path) -> None:
    """Somebody's manifest may name ../ files; they are not ours to remove."""
    import hashlib
    import json

    victim = tmp_path / "victim.txt"
    victim.write_text("x")
    target = tmp_path / "tally"
    write(target, FILES)
    manifest = json.loads((target / MANIFEST).read_text())
    manifest["files"]["../victim.txt"] = hashlib.sha256(b"x").hexdigest()
    (target / MANIFEST).write_text(json.dumps(manifest))
    write(target, FILES)
    assert victim.exists()


def test_the_files_around_the_code_are_well_formed(tmp_path: Path) -> None:
    """TOML that parses with odd texts in it, Python that compiles, a README whose tables keep their columns."""
    data = tmp_path / "rows.txt"
    data.write_text("1 2")
    package = replace(PACKAGE, recorded="{}", data=(("data/rows.txt", data),))
    files = package_files(package)
    project = tomllib.loads(files["pyproject.toml"].decode())["project"]
    assert project["description"] == PACKAGE.description
    assert project["dependencies"] == ["mlguard-nb~=1.0"]
    assert project["scripts"] == {"tally": "tally.__main__:main"}
    for path, content in files.items():
        if path.endswith(".py"):
            ast.parse(content)
    assert files["tests/data/rows.txt"] == b"1 2"
    readme = files["README.md"].decode()
    assert "| 1-3, 5 | `a \\| b` only showed a value: dropped |" in readme
    assert "| `load` | 2 | cache 1 h | | `rows` |" in readme
    assert "assert_recorded" in files["tests/test_tally.py"].decode()
    assert not any(path.startswith("kubernetes/") for path in files)


def test_without_recorded_values_the_test_still_runs_the_package() -> None:
    """It says so in the README, and skips nothing."""
    files = package_files(PACKAGE)
    test = files["tests/test_tally.py"].decode()
    assert "run(base_dir=tmp_path)" in test
    assert "skip" not in test
    assert "--verify" in files["README.md"].decode()
    assert "tests/recorded.json" not in files
