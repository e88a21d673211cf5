"""Which steps must run in one process, because they depend on state outside their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.plan import make_plan
from mlguard_convert.reader import read_notebook
from tests.converter.running import make_notebook

# name: (cells, each below a heading of its own; the cells whose steps share state)
CASES: dict[str, tuple[tuple[str, ...], set[int]]] = {
    "values handed on share nothing": (("xs = list('ab')", "n = len(xs)", "m = [n] * 2"), set()),
    "a seed concerns all that follows": (("xs = list('ab')", "import random\nrandom.seed(1)", "n = max(xs)"), {2, 3}),
    "a generator of one's own does not": (("import numpy as np\nrng = np.random.default_rng(1)", "x = rng.normal()"), set()),
    "numpy's global state": (("import numpy as np\nx = np.random.normal()", "y = [x]"), {1, 2}),
    "a name from random": (("from random import choice\nx = choice('ab')",), {1}),
    "a file that is written": (("xs = list('ab')", "with open('a', 'w') as f:\n    f.write('b')", "n = max(xs)"), {2, 3}),
    "a file that is read": (("with open('a') as f:\n    text = f.read()", "n = len(text)"), set()),
    "a frame that is saved": (("import pandas as pd\ndf = pd.read_csv('a')", "df.to_csv('b')", "n = len(df)"), {2, 3}),
    "an option of a library": (("import numpy as np\nnp.seterr(all='raise')", "x = np.ones(2)"), {1, 2}),
    "the environment": (("import os\nos.environ['A'] = 'b'", "x = list('ab')"), {1, 2}),
    "how things are shown": (("import warnings, pandas as pd\nwarnings.filterwarnings('ignore')\npd.set_option('display.width', 5)", "x = list('ab')"), set()),
    "a function that acts": (("import random\ndef draw():\n    return random.random()", "xs = list('ab')", "y = draw()"), {3}),
    "a function in a function that acts": (("import random\ndef draw():\n    return random.random()\ndef both():\n    return draw()", "y = both()"), {2}),
    "a change in place with no other name": (("xs = list('ab')", "xs.append('c')", "n = len(xs)"), set()),
    "a change in place below another name": (("xs = list('ab')", "ys = xs", "ys.append('c')", "n = len(xs)"), {1, 2, 3}),
    "a change of what a container holds": (("xs = list('ab')", "box = {'xs': xs}", "xs.append('c')", "n = len(box)"), {1, 2, 3}),
    "a copy is another object": (("xs = list('ab')", "ys = xs.copy()", "ys.append('c')", "n = len(xs)"), set()),
    "two names from one call": (("import matplotlib.pyplot as plt\nfig, ax = plt.subplots()", "ax.set_title('a')\nax.patches.append(1)"), {1, 2}),
    "awaiting": (("import asyncio\nx = await asyncio.sleep(0, 1)", "y = [x]"), {1, 2}),
    "code as text": (("exec('x = 1')",), {1}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_steps_that_share_state_are_marked(name: str, tmp_path: Path) -> None:
    cells, expected = CASES[name]
    texts: list[Any] = [part for at, cell in enumerate(cells, 1) for part in (("markdown", f"## Part {at}"), cell)]
    plan = make_plan(read_notebook(make_notebook(tmp_path, *texts)))
    assert {cell for step in plan.steps if step.shares for cell in step.cells} == expected
