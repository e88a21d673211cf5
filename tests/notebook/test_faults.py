"""The words of `%guard chaos`: read whole, or refused with a caret and a next step."""

from __future__ import annotations

import pytest

from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook.faults import faults


def test_faults_are_read_with_their_units() -> None:
    """Shares and seeds as numbers, a duration in seconds."""
    assert faults("fail=0.2 slow=500ms seed=7") == {"fail": 0.2, "slow": 0.5, "seed": 7}


@pytest.mark.parametrize(
    ("line", "word", "told"),
    [
        ("fail=0.1 slwo=1s", "slwo=1s", "unknown fault 'slwo'; did you mean slow?"),
        ("of", "of", "unknown fault 'of'; did you mean off?"),
        ("weather=0.1", "weather=0.1", "unknown fault 'weather'; write some of fail=, slow=, oom="),
        ("fail=0.1 fail=0.2", "fail=0.2", "fail is given twice; keep one of them"),
        ("fail=", "fail=", "fail= has no value; for example fail=0.2"),
        ("seed=1 slow", "slow", "slow= has no value; for example slow=1s"),
        ("fail=often", "fail=often", "'often' is not a number"),
        ("seed=1.5", "seed=1.5", "'1.5' is not a whole number"),
        ("fail=2", "fail=2", "fail must be a share in [0, 1], got 2.0"),
        ("slow=soon", "slow=soon", "'soon' is not a duration"),
    ],
)
def test_a_bad_word_is_pointed_at(line: str, word: str, told: str) -> None:
    """One line of words, then the line with a caret."""
    with pytest.raises(PolicyError) as refused:
        faults(line)
    said, typed, caret = str(refused.value).split("\n")
    assert told in said
    assert typed.strip() == f"%guard chaos {line}"
    assert typed[caret.index("^") : caret.rindex("^") + 1] == word
