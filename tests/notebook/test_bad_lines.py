"""Every way to get a %%guard line wrong: one clean message with a caret and a next step, and nothing of the cell runs."""

from __future__ import annotations

import pytest

from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel

# The line, the word under the caret, and what is told.
BAD = [
    # misspelt
    ("retires=3", "retires=3", "unknown option 'retires'; did you mean retry?"),
    ("MEM=0.8", "MEM=0.8", "unknown option 'MEM'; did you mean mem?"),
    ("mem=0.8 falback=fit", "falback=fit", "did you mean fallback?"),
    ("qick", "qick", "unknown option or profile 'qick'; did you mean quick?"),
    ("jitter=full", "jitter=full", "unknown option 'jitter'; see %%guard? for all options"),
    ("mem:0.8", "mem:0.8", "cannot read 'mem:0.8'; write mem=0.8"),
    ("retry 3", "3", "cannot read '3'; write retry=3"),
    ("retry=3 'x", "'x", "cannot read"),
    ("name=my step", "step", 'write name="my step"'),
    # twice
    ("retry=3 retry=4", "retry=4", "retry is given twice; keep one of them"),
    ("retry=3 --retry 4", "--retry 4", "retry is given twice; keep one of them"),
    # no value, or a value that cannot be
    ("retry=", "retry=", "retry= has no value; for example retry=3"),
    ("retry=three", "retry=three", "'three' is not a whole number"),
    ("retry=0", "retry=0", "attempts must be a whole number of at least 1"),
    ("retry=3 wait=fast", "wait=fast", "'fast' is not a duration: write a number and ms, s, m, h or d"),
    ("retry=3 deadline=soon", "deadline=soon", "'soon' is not a duration"),
    ("retry=3 timeout=-1s", "timeout=-1s", "'-1s' is not a duration"),
    ("retry=3 oom=shrink", "oom=shrink", "'shrink' is not one of fail, clear, halve:NAME"),
    ("retry=3 oom=halve:", "oom=halve:", "is not one of fail, clear, halve:NAME"),
    ("mem=0", "mem=0", "a share must be above 0 and at most 1"),
    ("mem=80%", "mem=80%", "80% is a percentage: write the share, such as 0.8"),
    ("mem=0.8 at=halt", "at=halt", "'halt' is not one of stop, wait, warn, skip"),
    ("mem=0.8 overcommit=maybe", "overcommit=maybe", "'maybe' is not one of on, off"),
    ("cache=forever", "cache=forever", "'forever' is not a duration"),
    ("cache=1h store=tape", "store=tape", 'must be "memory", "disk", "disk:<dir>" or "redis://..."'),
    ("cache=1h key=a,,b", "key=a,,b", "'' is not a Python name"),
    ("scope=all", "scope=all", "'all' is not one of cell, defs, both"),
    ("view=big", "view=big", "'big' is not one of live, line, off"),
    ("monitor=on", "monitor=on", "monitor takes no value; write monitor alone"),
    ("validate=X", "validate=X", "'X' names no schema: write X:Schema"),
    # no unit, or an unknown one
    ("mem=12", "mem=12", "12 has no unit: write 12GB for bytes, or a share of at most 1"),
    ("gpu=2", "gpu=2", "2 has no unit"),
    ("mem=0.8 need=2", "need=2", "2 has no unit: write 2GB or 2GiB"),
    ("mem=12XB", "mem=12XB", "'XB' is not a unit of size: use one of B, KB, MB, GB, TB, KiB, MiB, GiB, TiB"),
    # one without the other, or against the other
    ("wait=1s", "wait=1s", "wait needs retry= on the same line; add retry=3"),
    ("need=2GB", "need=2GB", "need needs mem= or gpu= on the same line; add mem=0.8"),
    ("mem=0.8 device=0", "device=0", "device needs gpu= or need= on the same line"),
    ("key=a", "key=a", "key needs cache= on the same line"),
    ("store=disk", "store=disk", "store needs cache= on the same line"),
    ("refresh", "refresh", "refresh needs cache= on the same line"),
    ("overcommit", "overcommit", "overcommit needs mem= or gpu= on the same line"),
    ("retry=3 wait=30s..1s", "wait=30s..1s", "wait_initial must be at most wait_max (1.0 s), got 30.0"),
    ("mem=none gpu=none", "mem=none", "ram must be set when neither gpu nor need is"),
    # names that are not there, or of the wrong kind
    ("retry=3 on=NoSuchError", "on=NoSuchError", "there is no 'NoSuchError' here"),
    ("retry=3 on=int", "on=int", "on= must name exception types"),
    ("mem=0.8 fallback=no_such", "fallback=no_such", "there is no 'no_such' here"),
    ("mem=0.8 fallback=count", "fallback=count", "fallback must be a function"),
    ("validate=count:Nope", "validate=count:Nope", "there is no 'Nope' here"),
    ("validate=no_such:int", "validate=no_such:int", "there is no 'no_such' here; run the cell that makes it first"),
    ("cache=1h key=no_such", "key=no_such", "there is no 'no_such' here. Name what the cell reads."),
    ("retry=3 oom=halve:no_such", "oom=halve:no_such", "the cell reads no 'no_such' that was there before it"),
    ("retry=3 oom=halve:text", "oom=halve:text", "needs a whole number, and text is of type str"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "word", "told"), BAD, ids=[line for line, _, _ in BAD])
def test_a_bad_line_is_one_message_with_a_caret(kernel: Kernel, line: str, word: str, told: str) -> None:
    """What is wrong and what to write, no traceback, a caret under the word, and nothing of the cell runs."""
    kernel.run("%guard set quick retry=2\ncount, text = 3, 'three'")
    answer = kernel.run(f"%%guard {line}\nran_anyway = count, text")
    shown = answer.stderr + answer.traceback

    assert answer.reply["status"] == "error" and told in shown
    assert "Traceback" not in shown and shown.strip().count("\n") == 2
    typed, caret = shown.rstrip("\n").splitlines()[-2:]
    assert typed.strip() == f"%%guard {line}"
    assert typed[caret.index("^") : caret.rindex("^") + 1] == word
    assert kernel.run("'ran_anyway' in globals()").result == "False"
