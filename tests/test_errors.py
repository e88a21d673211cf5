"""Every error pickles with its facts, and says what was asked, what was found and what to do next."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from mlguard_nb import errors

SAMPLES = [
    errors.PolicyError("attempts must be at least 1"),
    errors.DirectiveError("retyr=3", (0, 7), "unknown option 'retyr'", "did you mean retry?"),
    errors.UnboundName("fit", "fallback", "fit_cpu"),
    errors.InputRejected("score", [errors.Violation("x", "shape", "b 32", "(4, 31)")]),
    errors.MemoryPressure("RAM", 2 * 2**30, 2**30, 12 * 2**30, [errors.Holder("rag.ipynb", 2**30)], 5.0, 13 * 2**30),
    errors.CircuitOpen("api", 3.0),
    errors.DeviceUnavailable("GPU 7", "this machine has 2"),
    errors.ConversionError(
        "a.ipynb", [errors.Diagnostic("MG001", "error", 3, 2, "not valid Python", "Mend the cell.")]
    ),
    errors.MissingExtra("the Prometheus sink", "prometheus"),
    errors.MemoryStop("RAM"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_errors_pickle_with_all_they_know(error: BaseException) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", SAMPLES[:-1], ids=lambda error: type(error).__name__)
def test_all_but_the_stop_are_guard_errors(error: BaseException) -> None:
    assert isinstance(error, errors.GuardError)


def test_texts_name_what_where_and_the_next_step() -> None:
    texts = {type(error).__name__: str(error) for error in SAMPLES}
    assert texts["MemoryPressure"] == (
        "RAM is short: 13.0 GiB in use, stop at 12.0 GiB, 1.0 GiB free, 2.0 GiB needed; held by rag.ipynb 1.0 GiB. "
        "Next: free memory, raise the limit, or give a fallback."
    )
    assert texts["ConversionError"] == "a.ipynb: cell 3, line 2: not valid Python. Mend the cell."
    assert (
        texts["UnboundName"]
        == "fallback=fit: there is no 'fit' here; did you mean fit_cpu? Define it before it is used."
    )
    assert texts["MissingExtra"].endswith("pip install 'mlguard-nb[prometheus]'")
    assert "score rejected its input: 1 violation\n  - x: shape: expected b 32, found (4, 31)" in texts["InputRejected"]
    assert "next probe in 3.0 s" in texts["CircuitOpen"]
    assert "GPU 7 is not available: this machine has 2." in texts["DeviceUnavailable"]


def test_a_finding_leaves_the_words_for_its_remedies_to_whoever_shows_it() -> None:
    """What can be done in the notebook first, then the options; str() speaks to a caller in Python."""
    both = errors.Diagnostic("target", "error", None, None, "out is a file", "Move it.", ("output", "force"))
    assert str(both) == "out is a file. Move it, or choose another output, or write into it with force=True."
    words: dict[errors.Remedy, str] = {"output": "name another folder", "force": "say yes"}
    alone = errors.Diagnostic("target", "error", None, None, "out is a file", remedies=("output",))
    shown = errors.ConversionError("a.ipynb", [both, alone]).spelt(words)
    assert str(shown) == (
        "a.ipynb: out is a file. Move it, or name another folder, or say yes.\n"
        "a.ipynb: out is a file. Name another folder."
    )
    for remedy in get_args(errors.Remedy):
        assert str(errors.Diagnostic("x", "error", None, None, "no", remedies=(remedy,))) > "no. "


def test_standard_handlers_catch_them() -> None:
    assert issubclass(errors.PolicyError, ValueError)
    assert issubclass(errors.InputRejected, ValueError)
    assert issubclass(errors.MemoryPressure, MemoryError)
    assert issubclass(errors.MissingExtra, ImportError)
    assert not issubclass(errors.MemoryStop, Exception)
    assert errors.InputRejected.retryable is False


def test_notes_reach_every_supported_python() -> None:
    error = ValueError("x")
    errors.add_note(error, "gave up after 3 attempts")
    errors.add_note(error, "in 4.2 s")
    assert error.__notes__ == ["gave up after 3 attempts", "in 4.2 s"]  # type: ignore[attr-defined]
