"""What becomes of each magic and shell line: one table for lines, one for cells."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass, field

from mlguard_convert.dependencies import requirements_of_pip_line

__all__ = [
    "CAPTURE",
    "MEASURED",
    "RESET",
    "SHELL",
    "SHOWN_ERRORS",
    "Action",
    "cell_magic",
    "line_magic",
    "shell_call",
    "shell_text",
]

# These stand for the helpers until free names are chosen for them.
SHELL = "__mlguard_shell__"
CAPTURE = "__mlguard_capture__"
MEASURED = "__mlguard_measured__"
SHOWN_ERRORS = "__mlguard_shown_errors__"
# And this for a deletion, until the names are known; its argument is a pattern for them.
RESET = "__mlguard_reset__"

_DROPPED_LINES = frozenset(
    [
        "alias_magic",
        "autoreload",
        "autosave",
        "aimport",
        "colors",
        "config",
        "connect_info",
        "debug",
        "dhist",
        "dirs",
        "doctest_mode",
        "edit",
        "gui",
        "guard",
        "history",
        "killbgscripts",
        "load_ext",
        "logoff",
        "logon",
        "logstart",
        "logstate",
        "logstop",
        "ls",
        "lsmagic",
        "magic",
        "matplotlib",
        "nbagg",
        "notebook",
        "page",
        "pastebin",
        "pdb",
        "pdef",
        "pdoc",
        "pfile",
        "pinfo",
        "pinfo2",
        "pprint",
        "precision",
        "profile",
        "psearch",
        "psource",
        "pwd",
        "pycat",
        "qtconsole",
        "quickref",
        "recall",
        "rehashx",
        "reload_ext",
        "tb",
        "tensorboard",
        "unalias",
        "unload_ext",
        "version_information",
        "watermark",
        "who",
        "who_ls",
        "whos",
        "xmode",
        "cat",
        "less",
        "more",
        "man",
        "matplotlib_inline",
        "load",
        "loadpy",
        "macro",
        "save",
        "notebook",
        "sympyinit",
    ]
)
# What else than None these give, when a name is to have it, is about the session.
_GIVING_LINES = frozenset(("alias", "dhist", "dirs", "history", "lsmagic", "precision", "profile", "who_ls"))
_BODY_LINES = frozenset(("time", "prun", "lprun", "memit", "mprun"))
_BODY_CELLS = frozenset(("time", "capture", "prun", "memit", "mprun"))
_BLOCK_CELLS = frozenset(("timeit", "capture"))
_SHOWN_CELLS = frozenset(("html", "HTML", "javascript", "js", "svg", "SVG", "latex", "markdown"))
_SHELL_CELLS = frozenset(("bash", "sh", "!", "sx", "system"))
_INSTALLERS = frozenset(("pip", "conda", "mamba", "uv", "pip3"))
_INSTALL = re.compile(r"^\s*(?:sudo\s+)?(?:\S*python\S*\s+-m\s+)?(?:pip\d?|conda|mamba|uv|apt|apt-get|brew)\s")
_PYLAB = (
    "import numpy",
    "import numpy as np",
    "import matplotlib",
    "from matplotlib import pylab, mlab, pyplot",
    "import matplotlib.pyplot as plt",
    "from numpy import *",
    "from pylab import *",
)


@dataclass(frozen=True, slots=True)
class Action:
    """What stands in the place of a magic. `source` None: nothing. `change` is the README's line about it, `needs`
    the requirements it names; `before` are statements that must come earlier; `refusal` says why it cannot be kept;
    `asks_shell` is what a package does only when it is told to.
    """

    source: str | None = None
    change: str = ""
    needs: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    warning: str = ""
    refusal: str = ""
    next_step: str = ""
    asks_shell: bool = False
    paths: tuple[str, ...] = field(default=())


def line_magic(name: str, rest: str, *, assigned: bool = False) -> Action:
    """`%name rest`, standing alone or, when `assigned`, on the right of an assignment."""
    rest = rest.strip()
    shown = f"`%{name}{' ' + rest if rest else ''}`"
    if name in _INSTALLERS:
        return _installed(f"{name} {rest}", shown)
    if name in _BODY_LINES:
        body = _without_options(rest)
        return Action(body or None, f"`%{name}` dropped: every step is timed")
    if name == "timeit" and assigned and "o" in "".join(_options(rest)):
        return _measured(rest, shown)
    if name == "timeit":
        return Action(_timed_once(rest), f"{shown} runs once, untimed")
    if name == "pylab":
        return Action("None" if assigned else None, f"{shown} became the imports it stands for", before=_PYLAB)
    if name in ("env", "set_env"):
        return _environment(rest, shown, assigned=assigned)
    if name == "cd":
        path = shlex.quote(re.sub(r"^-[qb]\s+", "", rest)).strip("'\"") or "~"
        if path == "-":
            return Action(
                refusal="%cd - goes back to a folder that only the session knows", next_step="Name the folder."
            )
        if path.startswith("~"):
            return Action("os.chdir(os.path.expanduser(" + repr(path) + "))", f"{shown} kept", before=("import os",))
        return Action(
            f"os.chdir({shell_text(path)})", f"{shown} kept, undone at the end of run()", before=("import os",)
        )
    if name == "run":
        return _script(rest, shown)
    if name in ("system", "sx"):
        return _asking_shell(shell_call(rest, show=name == "system"), shown)
    if name == "mkdir":
        return _asking_shell(shell_call(f"mkdir {rest}"), shown)
    if name == "store" and "-r" in rest.split():
        return Action(refusal=f"%store {rest} reads variables from another session", next_step="Assign them in a cell.")
    if name in ("reset", "reset_selective", "xdel") and not assigned:
        return _deleting(name, [word for word in rest.split() if not word.startswith("-")], shown)
    if name == "pwd" and assigned:
        return Action("os.getcwd()", f"{shown} kept", before=("import os",))
    if name in _GIVING_LINES and assigned:
        return Action(refusal=f"{shown} gives what only the session knows", next_step="Write it in Python.")
    if name in _DROPPED_LINES or name in ("reset", "reset_selective", "store", "xdel") or name.startswith("load_ext"):
        return Action("None" if assigned else None, f"{shown} dropped")
    return Action(refusal=f"%{name} is not known", next_step="Write it in Python.")


def is_block(name: str) -> bool:
    """Whether the body of `%%name` may come to stand in a block, so that `cell_magic` wants it indented."""
    return name in _BLOCK_CELLS


def _deleting(name: str, words: list[str], shown: str) -> Action:
    """The lines that take variables away: all of them, those whose names fit a pattern, or one."""
    if name == "xdel" and words and words[0].isidentifier():
        return Action(f"del {words[0]}", f"{shown} became `del`")
    if name == "reset" and not words:
        return Action(f"{RESET}('')")
    if name == "reset_selective" and words and re.fullmatch(r"[\w^$|.]+", words[0]):  # a pattern that never takes long
        return Action(f"{RESET}({words[0]!r})")
    if name == "reset" and not {"array"} & set(words):  # the history of inputs, outputs or folders
        return Action(None, f"{shown} dropped")
    return Action(None, f"{shown} dropped", warning=f"{shown} is dropped: the names stay", next_step="Write del.")


def cell_magic(name: str, rest: str, body: str, block: str | None = None) -> Action:
    """`%%name rest` above `body`, which holds no further magic on its first line unless the caller unwraps it.

    `block` is the body as plain Python, indented; None where it is not needed or cannot be.
    """
    shown = f"`%%{name}{' ' + rest.strip() if rest.strip() else ''}`"
    if name == "capture" and block is not None and (held := _captured(rest)):
        futures, block = _futures_apart(block)
        return Action(f"{futures}with {held}:\n{block}", f"{shown} kept: what the cell prints goes into the name")
    if name in _BODY_CELLS:
        why = "output is printed" if name == "capture" else "every step is timed"
        return Action(body, f"{shown} dropped: {why}")
    if name == "timeit":
        if not body.strip():
            return line_magic("timeit", rest)
        if block is None:
            return Action(body, f"{shown} runs once, untimed")
        setup = f"    {_without_options(rest)}\n" if _without_options(rest) else ""
        futures, block = _futures_apart(block)
        return Action(f"{futures}def timed_cell():\n{setup}{block}\n\ntimed_cell()\n", f"{shown} runs once, untimed")
    if name in ("writefile", "file"):
        words = rest.split()
        if not words:
            return Action(refusal=f"%%{name} names no file")
        return _written(words[-1], "-a" in words or "--append" in words, body, shown)
    if name in _SHOWN_CELLS or name == "guard":
        return Action(None, f"{shown} dropped: it only shows something")
    if name in _SHELL_CELLS or (name == "script" and rest.split()[:1] in (["bash"], ["sh"])):
        if "--out" in rest or "--err" in rest:
            return Action(refusal=f"{shown} binds names from a shell", next_step="Use names = !command.")
        return _asking_shell(f"{SHELL}({body!r})\n", shown)
    if name in ("pip", "conda", "mamba"):
        return _installed(f"{name} {rest} {body}", shown)
    return Action(
        refusal=f"the cell magic %%{name} is not known, so what the cell does cannot be kept",
        next_step="Write it in Python.",
    )


def _captured(rest: str) -> str:
    """The head of the `with` for `%%capture NAME`; "" where it names nothing."""
    words = rest.split()
    names = [word for word in words if word.isidentifier()]
    streams = [f"{one}=False" for one in ("stdout", "stderr") if f"--no-{one}" in words]
    return f"{CAPTURE}({', '.join(streams)}) as {names[0]}" if len(names) == 1 else ""


def shell_call(command: str, *, show: bool = True) -> str:
    """The source of a call for `!command`; an install is None's business and never comes here."""
    return f"{SHELL}({shell_text(command)}{'' if show else ', show=False'})"


def shell_action(command: str, *, assigned: bool) -> Action:
    """`!command`, or `name = !command`."""
    if not assigned and _INSTALL.match(command):
        return _installed(command, f"`!{command.strip()}`")
    return _asking_shell(shell_call(command, show=not assigned), f"`!{command.strip()}`")


def _asking_shell(source: str, shown: str) -> Action:
    return Action(source, f"{shown} runs only with --allow-shell", asks_shell=True)


def shell_text(command: str) -> str:
    """The source of the command's text: an f-string where it mentions Python with {expression} or $name."""
    text = re.sub(
        r"(?<!\$)\$([A-Za-z_]\w*)", lambda found: f"{{{found[1]}}}" if found[1].islower() else found[0], command
    )
    text = text.replace("$$", "$")
    source = "f" + repr(text)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError):
        return repr(command)
    holds = isinstance(tree, ast.JoinedStr) and any(isinstance(part, ast.FormattedValue) for part in tree.values)
    return source if holds else repr(command)


def _installed(command: str, shown: str) -> Action:
    needs = requirements_of_pip_line(command)
    what = f"{', '.join(needs)} became a dependency" if len(needs) == 1 else f"{', '.join(needs)} became dependencies"
    return Action(None, f"{shown} dropped" if not needs else f"{shown}: {what}", needs=needs)


def _script(rest: str, shown: str) -> Action:
    words = [word for word in shlex.split(rest) if not word.startswith("-")] if rest.count("'") % 2 == 0 else []
    if words and "." not in words[0].rpartition("/")[2]:
        words[0] += ".py"
    if not words or not words[0].endswith(".py") or len(words) > 1:
        return Action(refusal=f"{shown} runs what is no single .py file", next_step="Import what the cell needs.")
    return Action(
        f"runpy.run_path({words[0]!r}, run_name='__main__')",
        f"{shown} runs the file below `base_dir`; the names that it gives are taken from there",
        before=("import runpy",),
        warning=f"{words[0]} does not travel with the package: import from it instead",
    )


def _environment(rest: str, shown: str, *, assigned: bool) -> Action:
    name, equals, value = rest.partition("=")
    if not equals:
        name, _, value = rest.partition(" ")
    if not name.strip() or not value.strip():
        if assigned:
            value = f"os.environ[{name.strip()!r}]" if name.strip() else "dict(os.environ)"
            return Action(value, f"{shown} kept", before=("import os",))
        return Action(None, f"{shown} dropped: it only shows something")
    return Action(f"os.environ[{name.strip()!r}] = {shell_text(value.strip())}", f"{shown} kept", before=("import os",))


def _written(path: str, append: bool, body: str, shown: str) -> Action:
    body = body if body.endswith("\n") else f"{body}\n"  # as IPython ends it
    target = f"pathlib.Path({shell_text(path)})"
    if append:
        source = f"{target}.open('a', encoding='utf-8').write({body!r})\n"
    else:
        source = f"{target}.write_text({body!r}, encoding='utf-8')\n"
    return Action(source, f"{shown} writes the file when the step runs", before=("import pathlib",))


def _timed_once(rest: str) -> str | None:
    """What `%timeit statement` does besides measuring: names that the statement binds are its own. None: nothing."""
    text = _without_options(rest)
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return text or None
    if len(body) == 1 and isinstance(body[0], ast.Assign) and all(isinstance(one, ast.Name) for one in body[0].targets):
        text = ast.unparse(body[0].value)
    elif not all(isinstance(one, ast.Expr) for one in body):
        return f"def timed_line():\n    {text}\ntimed_line()"
    return None if not body or _is_pure_text(text) else text


def _measured(rest: str, shown: str) -> Action:
    """`timings = %timeit -o expression`; an assignment is timed by what it computes."""
    try:
        (statement,) = ast.parse(_without_options(rest)).body
    except (SyntaxError, ValueError):
        statement = ast.Pass()
    if not isinstance(statement, (ast.Expr, ast.Assign)):
        return Action(refusal=f"{shown} gives the timings of what is no single expression")
    counts: dict[str, str] = dict(re.findall(r"-([nr])\s*(\d+)", " ".join(_options(rest))))
    given = "".join(f", {name}={counts[flag]}" for flag, name in (("n", "loops"), ("r", "repeat")) if flag in counts)
    return Action(f"{MEASURED}(lambda: {ast.unparse(statement.value)}{given})", f"{shown} measures here too")


def _futures_apart(block: str) -> tuple[str, str]:
    """The `from __future__` lines at the top of an indented block, which may stand in no block, and the block."""
    futures = ""
    lines = block.split("\n")
    for at, line in enumerate(lines):
        if line.lstrip().startswith("from __future__ "):
            futures += f"{line.strip()}\n"
            lines[at] = "    pass"
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return futures, "\n".join(lines)


def _options(text: str) -> list[str]:
    """The options of %timeit before its statement: `-n 10`, `-o`."""
    return re.findall(r"-[a-zA-Z]+\s*\d*\s*", text.strip()[: len(text.strip()) - len(_without_options(text))])


def _without_options(text: str) -> str:
    """The statement after the options of %time and %timeit (`-n 10 -r3 -o`)."""
    return re.sub(r"^(?:-[a-zA-Z]+\s*(?:\d+(?:\s+|$))?)+", "", text.strip()).strip()


def _is_pure_text(text: str) -> bool:
    from mlguard_convert.planning.purity import is_pure

    try:
        return is_pure(ast.parse(_without_options(text), mode="eval").body)
    except (SyntaxError, ValueError):
        return False
