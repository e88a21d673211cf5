"""The words of `%guard chaos`: which there are, and a line of them as faults."""

from __future__ import annotations

import difflib
import re
from typing import Any

from mlguard_nb.errors import PolicyError

__all__ = ["CHAOS", "faults"]

CHAOS = {
    "fail": "share of calls that fail with TimeoutError",
    "slow": "duration added to each call",
    "oom": "share of calls that run out of memory",
    "nan": "share of values that become NaN",
    "pressure": "share of the memory limit that is reported as used",
    "seed": "makes the faults the same each time",
}
_LIKE = {"slow": "slow=1s", "seed": "seed=7"}


def faults(line: str) -> dict[str, Any]:
    """`fail=0.2 slow=1s` as keywords of `testing.chaos`. PolicyError, with a caret under the first word that is bad."""
    given: dict[str, Any] = {}
    for match in re.finditer(r"\S+", line):
        name, _, value = match.group().partition("=")
        try:
            given[name] = _read(name, value, is_new=name not in given)
        except PolicyError as error:
            before = f"%guard chaos {line[: match.start()]}"
            caret = " " * len(before) + "^" * len(match.group())
            raise PolicyError(f"{error}\n    %guard chaos {line}\n    {caret}") from None
    if not given:
        raise PolicyError("name a fault, such as: %guard chaos fail=0.2 slow=1s")
    return given


def _read(name: str, value: str, *, is_new: bool) -> Any:
    """The value of one fault; PolicyError for an unknown or second one and for a value that cannot be."""
    from mlguard_nb.testing import Chaos
    from mlguard_nb.units import parse_duration

    if name not in CHAOS:
        near = difflib.get_close_matches(name.lower(), [*CHAOS, "off"], n=1)
        hint = f"did you mean {near[0]}?" if near else f"write some of {', '.join(f'{one}=' for one in CHAOS)}"
        raise PolicyError(f"unknown fault {name!r}; {hint}")
    if not is_new:
        raise PolicyError(f"{name} is given twice; keep one of them")
    if not value:
        raise PolicyError(f"{name}= has no value; for example {_LIKE.get(name, f'{name}=0.2')}")
    try:
        read: Any = parse_duration(value) if name == "slow" else int(value) if name == "seed" else float(value)
    except PolicyError:
        raise
    except ValueError:
        raise PolicyError(f"{value!r} is not a {'whole number' if name == 'seed' else 'number'}") from None
    Chaos(**{name: read})
    return read
