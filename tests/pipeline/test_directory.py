"""One run at a time changes the working directory, and gives it back."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mlguard_nb.errors import GuardError
from mlguard_nb.pipeline import RunInProgress, shell, working_directory


def test_the_directory_is_restored_whatever_happens(tmp_path: Path) -> None:
    before = Path.cwd()

    def fail() -> None:
        with working_directory(tmp_path) as folder:
            assert Path.cwd() == folder == tmp_path
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert Path.cwd() == before


def test_none_changes_and_locks_nothing(tmp_path: Path) -> None:
    """run() without base_dir may be called inside another run."""
    with working_directory(tmp_path), working_directory(None) as folder:
        assert folder == tmp_path


def test_a_second_run_is_refused_with_the_folder_of_the_first(tmp_path: Path) -> None:
    """The process has one working directory: the second block fails at once and says where the first one works."""
    with working_directory(tmp_path), pytest.raises(RunInProgress) as caught, working_directory(tmp_path.parent):
        pass
    assert isinstance(caught.value, GuardError)
    assert str(tmp_path) in str(caught.value)
    with working_directory(tmp_path.parent):
        pass  # free again


def test_a_base_dir_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="missing"), working_directory(tmp_path / "missing"):
        pass
    with working_directory(tmp_path):
        pass


def test_shell_lines_are_off_until_allowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Off they run nothing and say how to allow them; allowed they print and return their lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLGUARD_ALLOW_SHELL", raising=False)
    with caplog.at_level(logging.WARNING):
        assert shell("echo made > made.txt") == []
    assert not list(tmp_path.iterdir())
    assert "MLGUARD_ALLOW_SHELL" in caplog.text
    assert shell("echo one; echo two", allowed=True) == ["one", "two"]
    assert capsys.readouterr().out == "one\ntwo\n"
    monkeypatch.setenv("MLGUARD_ALLOW_SHELL", "1")
    assert shell("echo three", show=False) == ["three"]
    assert capsys.readouterr().out == ""
