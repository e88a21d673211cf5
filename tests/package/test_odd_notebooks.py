"""Notebooks with everything that a file or a cell can hold: exported, run, and equal in every final value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.exporting import ExportResult, export
from mlguard_convert.settings import ExportOptions
from mlguard_nb.errors import ConversionError
from tests.package.notebooks import write_notebook

pytestmark = pytest.mark.kernel


def tagged(source: str, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def exported(path: Path, **options: Any) -> ExportResult:
    """The export with --verify; fails with the rows that differ."""
    result = export(path, path.parent.parent / "out", name="odd", options=ExportOptions(verify=True, **options))
    assert result.verification is not None
    assert result.verification.error is None
    assert [row for row in result.verification.rows if row.equal is False] == []
    return result


def values(result: ExportResult) -> dict[str, bool | None]:
    assert result.verification is not None
    return {row.name: row.equal for row in result.verification.rows}


def test_await_errors_that_are_meant_and_cells_that_are_left_out(tmp_path: Path) -> None:
    """A cell tagged raises-exception keeps what it did before; a cell that Python cannot read is skipped in both."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb",
        "import asyncio\nawait asyncio.sleep(0)\nvalue = 3",
        tagged("before = value * 2\n1 / 0\nafter = 1", "raises-exception"),
        "y = = 2",
        "total = before + 1",
    )
    result = exported(path, skip_bad_cells=True)
    assert values(result) == {"value": True, "before": True, "total": True}
    assert any(one.cell == 3 for one in result.diagnostics)


def test_syntax_of_a_newer_python_names_that(tmp_path: Path) -> None:
    """Only where the notebook was written with it: elsewhere the cell is to be corrected."""
    path = write_notebook(tmp_path / "in" / "n.ipynb", "x = y = = 2")
    for version, hint in (
        ("3.99.1", "written with Python 3.99, and this is 3."),
        ("3.9", "Correct it"),
        (7, "Correct it"),
    ):
        content = json.loads(path.read_text())
        content["metadata"] = {"language_info": {"name": "python", "version": version}}
        path.write_text(json.dumps(content))
        with pytest.raises(ConversionError, match=rf"cell 1, line 1: not valid Python: .*{hint}"):
            export(path, tmp_path / "out")


def test_a_file_with_a_mark_carriage_returns_and_surrogates(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "in" / "n.ipynb", "x = 1\nif x:\n    y = 'é'", "lone = '\\ud800'")
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        cell["source"] = cell["source"].replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    assert values(exported(path)) == {"x": True, "y": True, "lone": True}


def test_the_order_of_execution_when_asked_for(tmp_path: Path) -> None:
    """Both run the cells in the order in which they were run last."""
    path = write_notebook(tmp_path / "in" / "n.ipynb", "x = [1]", "x = x + [2]", "x = x * 2")
    content = json.loads(path.read_text())
    for cell, count in zip(content["cells"], (1, 3, 2), strict=True):
        cell["execution_count"] = count
    path.write_text(json.dumps(content))
    result = exported(path, order="executed")
    assert result.verification is not None
    assert list(result.verification.values["x"]["items"]) == [1, 1, 2]


def test_shell_lines_magics_and_captured_output(tmp_path: Path) -> None:
    """Allowed shell lines run in both; what only IPython has is not compared."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb",
        "!echo hi > made.txt",
        "files = !cat made.txt\ncount = len(files)",
        "%%time\nx = 1",
        "%%capture shown\nprint(3)\nz = 1",
    )
    result = exported(path, allow_shell=True)
    assert values(result) == {"files": True, "count": True, "x": True, "z": True, "shown": None}
    assert not (path.parent / "made.txt").exists(), "both ran on copies"


def test_figures_classes_and_random_names(tmp_path: Path) -> None:
    """Figures are saved and compared by what they show; objects of the notebook's classes are; a name of chance counts neither way."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb",
        "import uuid\nimport matplotlib.pyplot as plt\nfrom dataclasses import dataclass",
        "@dataclass\nclass Point:\n    x: int\n\npoints = [Point(1), Point(2)]",
        "fig, ax = plt.subplots()\nax.plot([p.x for p in points])\nplt.show()",
        "token = uuid.uuid4().hex",
    )
    result = exported(path)
    found = values(result)
    assert found["points"] is True
    assert found["fig"] is True
    assert found["token"] is None
    assert result.folder is not None
    recorded = json.loads((result.folder / "tests" / "recorded.json").read_text())
    assert "token" in recorded["unstable"]
    assert recorded["values"]["token"] == {"type": "str"}


def test_figures_that_functions_draw_belong_to_their_cells(tmp_path: Path) -> None:
    """Each cell begins with no figure, whoever draws: a function, a method, a helper's function, a pandas object."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb",
        "import helper as h\nimport pandas as pd\nimport matplotlib.pyplot as plt\nages = pd.Series([1, 2])\n"
        "def lines(x):\n    plt.plot(x)\n    return len(plt.gca().lines)\n"
        "class Look:\n    def at(self, x):\n        return lines(x)",
        "a = lines([1])", "b = lines([2])", "c = Look().at([3])", "d = Look().at([4])", "e = h.shown([1])",
        "f = h.shown([2])", "g = len(ages.plot().lines)", "i = len(ages.plot().lines)",
    )  # fmt: skip
    helper = "import matplotlib.pyplot as plt\ndef shown(x):\n    plt.plot(x)\n    return len(plt.gca().lines)\n"
    (path.parent / "helper.py").write_text(helper, encoding="utf-8")
    assert values(exported(path)) == dict.fromkeys(("ages", *"abcdefgi"), True)


def test_what_was_only_imported_is_no_value_of_the_notebook(tmp_path: Path) -> None:
    """An object that an import brought may be missing in the package, which imports what it uses."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb",
        "from __future__ import print_function\nfrom string import (digits,\n    hexdigits as hexes)\nfrom math import *",
        "n = len(digits)\nspace = {}\nexec('made = 1', space)",
    )
    assert values(exported(path)) == {"n": True, "space": True}


def test_captured_output_and_displays_that_are_updated(tmp_path: Path) -> None:
    """`%%capture NAME` keeps what is printed; a display handle can be updated outside a notebook too."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb",
        "%%capture kept\n%matplotlib inline\nprint('hello')\ntext = '''a\n  b'''",
        "n = len(kept.stdout) + len(text)",
        "%%timeit -n1 -r1 k = 2\ninner = '''a\n  b''' * k",
        "%load code_beside.py\nhandle = display(n, display_id='place')\nhandle.update(n + 1)",
    )
    (tmp_path / "in" / "code_beside.py").write_text("never = 'executed'")
    assert values(exported(path)) == {"n": True, "text": True, "kept": None, "handle": None}


def test_asking_ipython_for_more_than_magics_is_refused(tmp_path: Path) -> None:
    """A package has no shell: one line names the cell; asking whether there is one is no problem."""
    path = write_notebook(
        tmp_path / "in" / "n.ipynb", "ip = get_ipython()\ncolab = 'colab' in str(ip)", "x = ip.user_ns"
    )
    with pytest.raises(ConversionError) as caught:
        export(path, tmp_path / "out", options=ExportOptions(skip_bad_cells=True))
    assert "cell 2, line 1: ip.user_ns asks something of IPython" in str(caught.value)
    assert caught.value.diagnostics[0].remedies == (), "leaving cells out does not help here"
    assert not (tmp_path / "out").exists()
    path = write_notebook(tmp_path / "in" / "history.ipynb", "a = 1", "b = In[1] + Out[1]")
    with pytest.raises(ConversionError, match="cell 2, line 1: In is IPython's own history"):
        export(path, tmp_path / "out")
    path = write_notebook(tmp_path / "in" / "jobs.ipynb", "from IPython.lib import backgroundjobs as bg")
    with pytest.raises(ConversionError, match="cell 1, line 1: IPython.lib.backgroundjobs works only while IPython"):
        export(path, tmp_path / "out")
    for line in ("import __main__ as nb", "from __main__ import a"):
        path = write_notebook(tmp_path / "in" / "main.ipynb", "a = 1", line)
        with pytest.raises(ConversionError, match="cell 2, line 1: __main__ is the notebook only while that runs"):
            export(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
