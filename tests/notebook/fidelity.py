"""What people do in cells, each done once plainly and once under %%guard: both must show and leave the same.

`python -m tests.notebook.fidelity` prints the matrix for the kernel of MLGUARD_KERNEL_PYTHON (else of this
interpreter); `make test-kernels` does so for every pair of IPython and ipykernel.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from tests.notebook.fidelity_live import LIVE
from tests.notebook.kernels import MIME, Answer, Kernel


@dataclass(frozen=True)
class Check:
    """`cell` stands below the first line. `expect` must be in what the plain cell showed, so that it does something.

    `before` runs ahead of each of the two, `after` is an expression that both must leave with one value.
    """

    name: str
    cell: str
    expect: str = ""
    before: str = ""
    after: str = ""
    typed: tuple[str, ...] = ()
    line: str = "%%guard"


CHECKS = (
    Check("last expression", "x = 41\nx + 1", "42", after="(_, Out[max(Out)])"),
    Check("last expression None", "None"),
    Check("semicolon", "x = 41\nx + 1;", after="x"),
    Check("semicolon before a comment", "x = 43\nx + 1;  # quiet", after="x"),
    Check("interactivity all", "1\n2\nx = 3", "2", before="%config InteractiveShell.ast_node_interactivity = 'all'"),
    Check("interactivity none", "1\n2", before="%config InteractiveShell.ast_node_interactivity = 'none'"),
    Check(
        "interactivity assign", "x = 5", "5",
        before="%config InteractiveShell.ast_node_interactivity = 'last_expr_or_assign'",
    ),
    Check(
        "interactivity last", "for i in range(2):\n    i",
        before="%config InteractiveShell.ast_node_interactivity = 'last'",
    ),
    Check("default interactivity again", "7", "7", before="%config InteractiveShell.ast_node_interactivity = 'last_expr'"),
    Check("names of every kind", "import math as m\nclass A: pass\ndef f(): return 1\nfor i in range(3): pass\n(w := 4)", "4", after="(m.sqrt(4), A.__name__, f(), i, w)"),
    Check("del and star import", "gone = 1\ndel gone\nfrom math import *", after="('gone' in globals(), floor(2.5))"),
    Check("globals and locals", "(locals() is globals(), __name__, [n for n in dir() if 'guard' in n])", "True"),
    Check("global in a function", "def f():\n    global deep\n    deep = 7\nf()", after="deep"),
    Check("annotations", "a: int = 3\nb: str\n__annotations__['a']", "int"),
    Check("comprehensions and closures", "k = 3\nfs = [lambda: k for _ in range(2)]\n[f() for f in fs]", "[3, 3]"),
    Check("match statement", "match [1, 2]:\n    case [a, b]:\n        r = a + b\nr", "3"),
    Check("docstring alone", "'''only text'''", "only text"),
    Check("continued line", "x = 1 + \\\n    2\nx", "3"),
    Check("text of many lines", "t = '''a\n%%guard\n  b'''\nt", "%%guard"),
    Check("future import", "from __future__ import annotations\ndef f(x: undefined): return x\nf(3)", "3"),
    Check("stdout and stderr", "import sys\nprint('a'); print('b', file=sys.stderr); print('c', end='')", "a"),
    Check("display", "from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'))\ndisplay({'a': 1})", "<b>x</b>"),
    Check("display updated", "from IPython.display import display\nh = display('one', display_id='{id}')\nh.update('two')", "two"),
    Check("rich result", "class R:\n    def _repr_html_(self): return '<i>r</i>'\n    def __repr__(self): return 'R!'\nR()", "R!"),
    Check("clear_output", "from IPython.display import clear_output\nprint('gone')\nclear_output()\nprint('stays')", "stays"),
    Check("input", "name = input('who? ')\nname", "Ada", typed=("Ada",)),
    Check("getpass", "import getpass\ngetpass.getpass('key? ')", "s3", typed=("s3",)),
    Check("line magics", "folder = %pwd\n%time y = sum(range(10))\ny", "45"),
    Check("shell line", "!echo from-the-shell", "from-the-shell"),
    Check("shell assignment", "out = !echo hello\nout[0]", "hello"),
    Check("%%bash inside", "%%bash\necho in bash", "in bash"),
    Check("%%capture inside", "%%capture caught\nprint('inside')", after="caught.stdout"),
    Check("%%time inside", "%%time\nz = 8\nprint('timed')", "timed", after="z"),
    Check("%%writefile inside", "%%writefile /tmp/mlguard-fidelity.txt\nbody", "mlguard-fidelity", before="!rm -f /tmp/mlguard-fidelity.txt", after="open('/tmp/mlguard-fidelity.txt').read()"),
    Check("%%html inside", "%%html\n<u>x</u>", "<u>x</u>"),
    Check("%%time outside", "v = 5\nprint('within')", "within", after="v", line="%%time\n%%guard"),
    Check("%%capture outside", "print('within')", after="caught.stdout", line="%%capture caught\n%%guard"),
    Check("help in a cell", "len?"),
    Check("history names", "1", "1", after="(In[-2].splitlines()[-1], _i.splitlines()[-1])"),
    Check("error in the cell", "x = 1\n\nx / 0", "----> 4 x / 0"),
    Check("error in a function", "f()", "----> 2     raise KeyError", before="def f():\n    raise KeyError('deep')"),
    Check("error in a function of the cell", "def g():\n    return 1 / 0\ng()", "in g()"),
    Check("error with a cause", "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('v') from e", "direct cause"),
    Check("error while another is handled", "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['k']", "another exception"),
    Check("error from a library", "import json\njson.loads('{')", "JSONDecodeError"),
    Check("traceback printed by the cell", "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()", "ZeroDivisionError"),
    Check("verbose tracebacks", "x = 5\nassert x == 4, 'no'", "AssertionError", before="%xmode Verbose"),
    Check("plain tracebacks", "x = 5\nassert x == 4, 'no'", "AssertionError", before="%xmode Plain"),
    Check("minimal tracebacks", "x = 5\nassert x == 4, 'no'", "AssertionError", before="%xmode Minimal"),
    Check("context tracebacks again", "assert 0", "AssertionError", before="%xmode Context"),
    Check("SyntaxError while parsed", "x = 1\ny = = 2", "SyntaxError"),
    Check("IndentationError", "if 1:\nx = 1", "IndentationError"),
    Check("SyntaxError while compiled", "x = 1\nreturn x", "outside function"),
    Check("break outside a loop", "x = 1\nbreak", "outside loop"),
    Check("continue outside a loop", "continue", "SyntaxError"),
    Check("warning with its line", "import warnings\nwarnings.warn('careful')", "careful", before="import warnings; warnings.simplefilter('default')"),
    Check("SystemExit", "import sys\nsys.exit(3)", "SystemExit", before="import warnings; warnings.simplefilter('default')"),
    Check("KeyboardInterrupt of its own", "raise KeyboardInterrupt", "KeyboardInterrupt"),
    Check("await", "import asyncio\nawait asyncio.sleep(0)\n'slept'", "slept"),
    Check("async for and with", "[i async for i in agen()]", "[0, 1]", before="async def agen():\n    for i in range(2):\n        yield i"),
    Check("error in an await", "async def bad():\n    raise OSError('net')\nawait bad()", "----> 4 await bad()"),
    Check("tasks across cells", "await task", "done", before="import asyncio\nasync def later():\n    return 'done'\ntask = asyncio.ensure_future(later())"),
    Check("getsource", "class B:\n    def m(self):\n        return 1\nimport inspect\nprint(inspect.getsource(B.m))", "return 1"),
    Check("pickle", "class P:\n    v = 2\nimport pickle\npickle.loads(pickle.dumps(P())).v", "2"),
    Check("dataclass and super", "from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int = 1\nclass E(D):\n    def __post_init__(self): super().__init__\nE()", "E(a=1)"),
    Check("fork pool", "import multiprocessing as mp\ndef sq(i): return i * i\nwith mp.get_context('fork').Pool(2) as pool: r = pool.map(sq, range(5))\nr", "16"),
    Check("threads", "import threading\nout = []\nt = threading.Thread(target=lambda: out.append(1)); t.start(); t.join()\nout", "[1]"),
    Check("subprocess", "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(5)'], capture_output=True, text=True).stdout", "5"),
    Check("frame of the cell", "import sys\n(sys._getframe().f_code.co_name, sys._getframe().f_lineno)", "<module>"),
    Check("recursion depth", "def r(n): return n and r(n - 1)\nr(200)", "0"),
    Check("%run of a script", "%run /tmp/mlguard-fidelity-script.py\nv", "9", before="%%writefile /tmp/mlguard-fidelity-script.py\nv = 9"),
    Check("nested run_cell", "get_ipython().run_cell('inner = 5')\ninner + 1", "6"),
    Check("matplotlib figure", "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()", "Figure size"),
    Check("%reset -f, then a cell", "1 + 1", "2", before="%reset -f"),
    Check("%who", "mine_too = 1\n%who int", "mine_too", before="%reset -f"),
)  # fmt: skip

_NOISE = (
    (re.compile(r"0x[0-9a-f]+"), "0x"),
    (re.compile(r"Cell In\[\d+\]|<ipython-input-\d+-\w+>|ipykernel_\d+/\d+\.py|Input In \[\d+\]"), "CELL"),
    (re.compile(r"\d+(\.\d+)?(e[+-]?\d+)? [nµμm]?s\b"), "TIME"),  # IPython writes a round 1,000 µs as "1e+03 µs"
    (re.compile(r"(?m)^(.*\b1 )(# )?%%guard$"), r"\1#"),
)


def clean(text: str) -> str:
    """`text` without what differs between any two runs."""
    for pattern, instead in _NOISE:
        text = pattern.sub(instead, text)
    return text


def shown(answer: Answer) -> dict[str, object]:
    """All that a person sees of an answer, without the view."""
    displays = [
        {kind: clean(str(value))[:300] for kind, value in data.items()} for data in answer.shown if MIME not in data
    ]
    return {
        "stdout": clean(answer.stdout), "stderr": clean(answer.stderr), "result": clean(answer.result or ""),
        "error": answer.error, "traceback": clean(answer.traceback), "displays": displays, "errors": answer.errors,
        "status": answer.reply["status"], "payload": [clean(str(item))[:300] for item in answer.reply.get("payload", [])],
    }  # fmt: skip


def difference(kernel: Kernel, check: Check) -> str:
    """What the guarded cell did otherwise than the plain one; "" where it did the same."""
    # A comment stands where the %%guard line will: line numbers are the same then. A cell magic must come first.
    plain = check.cell if check.cell.startswith("%%") else f"#\n{check.cell}"
    if check.line != "%%guard":
        plain = f"{check.line.partition(chr(10))[0]}\n#\n{check.cell}"
    both = []
    for number, cell in enumerate((plain, f"{check.line}\n{check.cell}")):
        if check.before:
            kernel.run(check.before)
        answer = kernel.run(cell.replace("{id}", f"fidelity-{number}"), answer_input=check.typed or None)
        left = kernel.run(check.after).result if check.after else ""
        both.append({**shown(answer), "after": clean(left or "")})
    if check.expect not in str(both[0]).replace("\\n", "\n"):
        return f"the plain cell does not show {check.expect!r}: {both[0]}"
    return "; ".join(
        f"{key}: {both[0][key]!r} became {both[1][key]!r}" for key in both[0] if both[0][key] != both[1][key]
    )


def main() -> int:
    """Run everything in one kernel and print the matrix; the number of differences."""
    kernel = Kernel()
    versions = kernel.run(
        "import sys, IPython, ipykernel\nprint(f'Python {sys.version.split()[0]}, IPython {IPython.__version__}, ipykernel {ipykernel.__version__}')"
    ).stdout.strip()
    found = {check.name: difference(kernel, check) for check in CHECKS}
    kernel.close()
    for name, live in LIVE.items():
        kernel = Kernel()
        try:
            found[name] = live(kernel)
        finally:
            kernel.close()
    for name, told in found.items():
        print(f"  {'ok   ' if not told else 'WRONG'} {name}{': ' + told if told else ''}")
    wrong = sum(bool(told) for told in found.values())
    print(f"{versions}: {len(found) - wrong} of {len(found)} checks are the same plain and guarded")
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, main()))
