"""A guarded cell behaves as the same cell without its first line: what people rely on in a notebook, in a real kernel."""

from __future__ import annotations

import pytest

from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel


def test_the_last_expression_is_shown_and_kept(kernel: Kernel) -> None:
    """The value appears as Out, and underscore has it."""
    assert kernel.run("%%guard\nx = 41\nx + 1").result == "42"
    assert kernel.run("_").result == "42"


def test_a_semicolon_hides_the_last_expression(kernel: Kernel) -> None:
    """`;` means the same as everywhere."""
    assert kernel.run("%%guard\nx = 41\nx + 1;").result is None


def test_none_is_not_shown(kernel: Kernel) -> None:
    """A last expression of None shows nothing."""
    assert kernel.run("%%guard\nNone").result is None


def test_names_are_bound_in_the_notebook(kernel: Kernel) -> None:
    """Names, functions, classes and imports are there afterwards."""
    kernel.run("%%guard\na = 1\nimport math as m\nfor i in range(3): pass\nwith open('/dev/null') as f: pass")

    assert kernel.run("(a, m.sqrt(4), i, f.closed)").result == "(1, 2.0, 2, True)"


def test_a_traceback_points_at_the_line_that_was_typed(kernel: Kernel) -> None:
    """Line numbers count line 1 as the %%guard line, which is shown as typed; no frame of ours is shown."""
    answer = kernel.run("%%guard retry=2 wait=0s  # note\nx = 1\n\nx / 0")

    assert answer.error == "ZeroDivisionError"
    assert "----> 4 x / 0" in answer.traceback
    assert "1 %%guard name=shown  # note" in kernel.run("%%guard name=shown  # note\n1 / 0").traceback
    assert "mlguard_nb" not in answer.traceback and "__mlguard__" not in answer.traceback


def test_an_error_is_reported_once(kernel: Kernel) -> None:
    """One error message, one traceback, however many attempts."""
    answer = kernel.run("%%guard retry=3 wait=0s\nraise ValueError('once')")

    assert answer.errors == 1 and answer.traceback.count("ValueError: once") == 1
    assert answer.reply["status"] == "error"


def test_an_error_in_a_function_shows_both_frames(kernel: Kernel) -> None:
    """The cell's line and the function's line."""
    kernel.run("def fails():\n    raise KeyError('deep')")
    answer = kernel.run("%%guard\nfails()")

    assert "----> 2 fails()" in answer.traceback and "----> 2     raise KeyError" in answer.traceback


def test_a_syntax_error_keeps_its_line(kernel: Kernel) -> None:
    """Parsed or compiled, the error names its own line."""
    parsed = kernel.run("%%guard\nx = 1\ny = = 2")
    compiled = kernel.run("%%guard\nx = 1\nreturn x")

    assert parsed.error == "SyntaxError" and "line 3" in parsed.traceback
    assert compiled.error == "SyntaxError" and "line 3" in compiled.traceback
    assert "'return' outside function" in compiled.traceback


def test_break_outside_a_loop_is_still_an_error(kernel: Kernel) -> None:
    """The loop over attempts is not the user's loop."""
    answer = kernel.run("%%guard\nbreak")

    assert answer.error == "SyntaxError" and "outside loop" in answer.traceback


def test_top_level_await(kernel: Kernel) -> None:
    """await works, also with a result to show and with attempts."""
    answer = kernel.run(
        "%%guard retry=2 wait=0s\nawait asyncio.sleep(0.01)\nresult = [i async for i in agen()]\nresult"
    )
    assert answer.error == "NameError"

    kernel.run("async def agen():\n    for i in range(3):\n        yield i")
    assert kernel.run("%%guard\nawait asyncio.sleep(0)\n[i async for i in agen()]").result == "[0, 1, 2]"


def test_an_await_in_a_function_makes_no_async_cell(kernel: Kernel) -> None:
    """A cell that defines a coroutine function runs as plain code."""
    assert (
        kernel.run("%%guard scope=cell\nasync def later():\n    await asyncio.sleep(0)\nlater.__name__").result
        == "'later'"
    )


def test_a_cell_magic_on_line_two(kernel: Kernel) -> None:
    """%%guard over %%capture: the inner magic does what it does."""
    kernel.run("%%guard\n%%capture captured\nprint('inside')")

    assert kernel.run("captured.stdout").result == "'inside\\n'"


def test_line_magics_and_shell_inside(kernel: Kernel) -> None:
    """%magics, assignments from them, and ! lines work in a guarded cell."""
    answer = kernel.run("%%guard\nfolder = %pwd\nout = !echo hello\nprint(out[0])")

    assert answer.stdout == "hello\n" and kernel.run("type(folder).__name__").result == "'str'"


def test_future_imports(kernel: Kernel) -> None:
    """`from __future__` may stand below the guard line."""
    answer = kernel.run("%%guard scope=cell\nfrom __future__ import annotations\ndef f(x: undefined): return x\nf(3)")

    assert answer.result == "3" and answer.error is None


def test_input(kernel: Kernel) -> None:
    """input() asks and answers."""
    answer = kernel.run("%%guard\nname = input('who? ')\nname", answer_input="Ada")

    assert answer.result == "'Ada'"


def test_printed_text_comes_in_order(kernel: Kernel) -> None:
    """stdout and stderr arrive whole."""
    answer = kernel.run("%%guard\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')")

    assert answer.stdout == "a\nc\n" and answer.stderr == "b\n"


def test_history_has_what_was_typed(kernel: Kernel) -> None:
    """The history holds the %%guard line, not what it became."""
    kernel.run("%%guard name=typed\nhistory_probe = 1")

    assert "%%guard name=typed" in (kernel.run("get_ipython().history_manager.input_hist_raw[-2]").result or "")


def test_no_name_of_ours_is_listed(kernel: Kernel) -> None:
    """%who and dir-like listings show only the user's names."""
    kernel.run("%%guard\nmine = 1")

    assert "mlguard" not in kernel.run("%who").stdout


def test_del_and_star_imports(kernel: Kernel) -> None:
    """del works, and so does a star import."""
    kernel.run("%%guard\ngone = 1\ndel gone\nfrom math import *")

    assert kernel.run("('gone' in globals(), floor(2.5))").result == "(False, 2)"


def test_an_empty_guarded_cell(kernel: Kernel) -> None:
    """A line and nothing below it is no error."""
    assert kernel.run("%%guard retry=3").error is None
    assert kernel.run("%%guard\n# only a comment").error is None


def test_a_cell_that_only_defines_guards_its_functions(kernel: Kernel) -> None:
    """The functions carry the policy; the cell says so, and `scope=cell` does otherwise."""
    kernel.run("calls = []")
    answer = kernel.run(
        "%%guard retry=2 wait=0s\ndef flaky():\n    calls.append(1)\n    if len(calls) < 2:\n"
        "        raise ConnectionError('first')\n    return len(calls)"
    )

    assert "flaky guarded" in answer.sentence and "scope=cell" in answer.sentence
    assert kernel.run("flaky()").result == "2"
    assert kernel.run("flaky.__mlguard__.retry.attempts").result == "2"
    assert kernel.run("import inspect; inspect.getsource(flaky).splitlines()[0]").result == "'def flaky():'"


def test_nested_guarded_cells(kernel: Kernel) -> None:
    """A guarded cell may run another one."""
    answer = kernel.run(
        "%%guard\nget_ipython().run_cell('%%guard retry=2 wait=0s\\ninner = 5')\nouter = inner + 1\nouter"
    )

    assert answer.result == "6"


def test_unload_leaves_the_kernel_as_it_was() -> None:
    """After %unload_ext no transformer, name, magic or thread of ours is left; loading again works."""
    own = Kernel()
    try:
        own.run("%%guard mem=0.95\n1")
        own.run("%unload_ext mlguard_nb")
        left = own.run(
            "ip = get_ipython()\n"
            "[t for t in ip.input_transformer_manager.line_transforms if 'mlguard' in getattr(t, '__module__', '')]"
            " + [t for t in ip.ast_transformers if 'mlguard' in type(t).__module__]"
            " + [n for n in [*ip.user_ns, *dir(__builtins__)] if 'mlguard' in n] + [k for k in ('line', 'cell')"
            " if 'guard' in ip.magics_manager.magics[k]]"
        )
        assert left.result == "[]"
        assert "not found" in own.run("%%guard\n1").stderr
        own.run("%load_ext mlguard_nb")
        assert own.run("%%guard\n7").result == "7"
    finally:
        own.close()


def test_options_after_one_percent_sign_are_told_to_take_two(kernel: Kernel) -> None:
    """`%guard retry=3` is what people type first; the answer is the line that they meant."""
    told = kernel.run("%guard retry=3 mem=0.8")

    assert "to guard one cell, begin it with %%guard retry=3 mem=0.8" in told.stderr + told.traceback
