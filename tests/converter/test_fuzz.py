"""The search for notebooks that change their values finds one where there is one, and cuts it down."""

from __future__ import annotations

import pytest

from tests.converter import fuzz_notebooks
from tests.converter.fuzz_notebooks import made_notebook, main, reduced


def test_only_the_cells_that_matter_are_left() -> None:
    cells = ["a = 1", "b = 2", "c = a + b", "d = 4"]
    assert reduced(cells, lambda some: {"a = 1", "c = a + b"} <= set(some)) == ["a = 1", "c = a + b"]


def test_a_seed_is_always_the_same_notebook() -> None:
    made = [made_notebook(seed) for seed in range(12)]
    assert made == [made_notebook(seed) for seed in range(12)]
    assert sum(one is not None for one in made) > 4


@pytest.mark.parametrize("wrong", [True, False])
def test_what_disagrees_is_printed_as_a_case(
    wrong: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a converter that gets `b` wrong, or none that does."""
    tried: list[int] = []

    def made(seed: int) -> list[str]:
        tried.append(seed)
        return ["a = 1", "b = 2"]

    def told(cells: list[str], folder: object) -> str | None:
        return "b is 2, became 3" if wrong and "b = 2" in cells else None

    monkeypatch.setattr(fuzz_notebooks, "made_notebook", made)
    monkeypatch.setattr(fuzz_notebooks, "disagreement", told)
    monkeypatch.setattr(fuzz_notebooks.time, "monotonic", lambda: 60.0 * (len(tried) > 0))
    assert main(["--minutes", "1", "--seed", "7"]) == int(wrong)
    said = capsys.readouterr().out
    assert ("seed 7: b is 2, became 3\n    'seed 7': ('b = 2',),\n" in said) is wrong
    assert said.endswith(f"1 notebooks, seeds 7 to 7: {int(wrong)} disagree\n")
