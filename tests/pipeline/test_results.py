"""Saved results come back as they were, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlguard_nb.pipeline import load_results, save_results
from mlguard_nb.pipeline.results import ResultsError

VALUES: dict[str, Any] = {"n": 3, "pair": (1, 2), "text": "é", "table": {"a": [1, None]}, "p": np.array([0.25, 0.5])}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Each kind in the plainest format that keeps it: JSON, .npy without pickle, else a pickle."""
    assert save_results(VALUES, tmp_path, source="churn") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "n.json", "p.npy", "pair.pkl", "results.json", "table.json", "text.json",
    ]  # fmt: skip
    loaded = load_results(tmp_path)
    assert loaded["pair"] == (1, 2)
    assert loaded["table"] == VALUES["table"]
    assert (loaded["p"] == VALUES["p"]).all()
    entry = json.loads((tmp_path / "results.json").read_text())["results"]["p"]
    assert entry["type"] == "numpy.ndarray"
    assert entry["version"] == np.__version__
    assert list(load_results(tmp_path, ["n"])) == ["n"]


def test_a_changed_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A pickle that is not the one written is never loaded."""
    save_results(VALUES, tmp_path)
    (tmp_path / "pair.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ResultsError, match="pair.pkl is not the file"):
        load_results(tmp_path)


def test_what_cannot_be_written_is_reported_and_the_rest_is_saved(tmp_path: Path) -> None:
    refused = save_results({"n": 1, "lines": (line for line in "ab")}, tmp_path)
    assert list(refused) == ["lines"]
    assert "generator" in refused["lines"]
    assert load_results(tmp_path) == {"n": 1}


def test_missing_names_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="run --save"):
        load_results(tmp_path)
    save_results({"n": 1}, tmp_path)
    with pytest.raises(ResultsError, match="'m' was not saved here; there are n"):
        load_results(tmp_path, ["m"])
