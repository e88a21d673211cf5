"""What the local names of steps are when they return, and of which types what goes in and comes out."""

from __future__ import annotations
import __future__

import ast
import builtins
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeGuard

from mlguard_nb.pipeline.stepping import Step
from mlguard_nb.pipeline.unbound import UNBOUND

__all__ = ["step_locals"]

_WATCHED_CALLS = 200
_WATCHED_EVENTS = 500_000  # about a tenth of a second
_FEATURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_STARTED, _RETURNED, _LOCALS = "__mlguard_started__", "__mlguard_returned__", "__mlguard_locals__"


@contextmanager
def step_locals(
    watched: Sequence[tuple[FunctionType, Step]], types: dict[str, type | None] | None = None
) -> Iterator[dict[str, Any]]:
    """Collect the local names of every step in `watched`, each time it returns.

    `types` is filled with the types of arguments, as "step(name)", and of outputs, as "step.name"; None where calls
    differ. A Step without cells stands for a plain function: only its types are noted, of its first calls.
    """
    watcher = _Watcher({function.__code__: step for function, step in watched}, {} if types is None else types)
    stop = _monitored(watcher) if sys.version_info >= (3, 12) else _rewritten(watcher, watched)
    try:
        yield watcher.seen
    finally:
        stop()


class _Watcher:
    """What was noted so far."""

    def __init__(self, steps: Mapping[CodeType, Step], types: dict[str, type | None]) -> None:
        self.steps, self.types = steps, types
        self.seen: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()

    def started(self, step: Step, names: Mapping[str, Any]) -> None:
        """A step was called: its local names are its arguments."""
        self.calls[step.name] += 1
        if step.cells or self.calls[step.name] <= _WATCHED_CALLS:
            for name, value in names.items():
                self._note(f"{step.name}({name})", value)

    def returned(self, step: Step, names: Mapping[str, Any], value: Any) -> None:
        """A step has ended well."""
        if step.cells:
            self.seen.update(names)
        elif self.calls[step.name] > _WATCHED_CALLS:
            return
        values = value if len(step.outputs) > 1 and isinstance(value, tuple) else (value,)
        for name, one in zip(step.outputs, values, strict=False):
            self._note(f"{step.name}.{name}", one)

    def _note(self, place: str, value: Any) -> None:
        """The type at a place, the wider of two where one is a kind of the other; None once they differ."""
        if value is UNBOUND:
            return
        found = type(value)
        known = self.types.setdefault(place, found)
        if known is not None and not issubclass(found, known):
            self.types[place] = found if issubclass(known, found) else None


def _monitored(watcher: _Watcher) -> Callable[[], None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    tool, events = monitoring.PROFILER_ID, monitoring.events

    def started(code: CodeType, offset: int) -> None:
        watcher.started(watcher.steps[code], sys._getframe(1).f_locals)

    def returned(code: CodeType, offset: int, value: Any) -> None:
        watcher.returned(watcher.steps[code], sys._getframe(1).f_locals, value)

    monitoring.use_tool_id(tool, "mlguard_nb")
    monitoring.register_callback(tool, events.PY_START, started)
    monitoring.register_callback(tool, events.PY_RETURN, returned)
    for code in watcher.steps:
        monitoring.set_local_events(tool, code, events.PY_START | events.PY_RETURN)

    def stop() -> None:
        for code in watcher.steps:
            monitoring.set_local_events(tool, code, 0)
        monitoring.free_tool_id(tool)

    return stop


def _rewritten(watcher: _Watcher, watched: Sequence[tuple[FunctionType, Step]]) -> Callable[[], None]:
    """Before Python 3.12 a profile function hears of every call in the process, which takes three times as long: the
    code of a step tells of itself instead, and plain functions are heard of at the beginning of each step.
    """
    steps = [(function, step, function.__code__) for function, step in watched if step.cells]
    hears = len(steps) < len(watched)
    left = 0

    def look(frame: FrameType, event: str, value: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            sys.setprofile(None)
        step = watcher.steps.get(frame.f_code)
        if step is not None and event == "call":
            watcher.started(step, frame.f_locals)
        elif step is not None and event == "return":
            watcher.returned(step, frame.f_locals, value)

    def started(number: int, names: dict[str, Any]) -> None:
        nonlocal left
        watcher.started(steps[number][1], names)
        left = _WATCHED_EVENTS
        sys.setprofile(look if hears else None)

    def returned(number: int, value: Any, names: dict[str, Any]) -> Any:
        sys.setprofile(None)
        watcher.returned(steps[number][1], names, value)
        return value

    tellers = {_STARTED: started, _RETURNED: returned, _LOCALS: builtins.locals}
    for number, (function, _, code) in enumerate(steps):
        function.__globals__.update(tellers)
        function.__code__ = _telling(code, number)

    def stop() -> None:
        sys.setprofile(None)
        for function, _, code in steps:
            function.__code__ = code
            for name in tellers.keys() & function.__globals__.keys():
                del function.__globals__[name]

    return stop


def _telling(code: CodeType, number: int) -> CodeType:
    """The code of a function, compiled from its source with calls that tell when it starts and what it returns."""
    tree = ast.parse(Path(code.co_filename).read_text(encoding="utf-8"))
    function = next(node for node in ast.walk(tree) if _is_of(node, code))
    function.decorator_list = []
    names = f"{_LOCALS}()"
    tells = _TellsReturns(number)
    body = [tells.visit(statement) for statement in function.body]
    at = 0 if ast.get_docstring(function, clean=False) is None else 1
    first, last = ast.parse(f"{_STARTED}({number}, {names})\n{_RETURNED}({number}, None, {names})").body
    function.body = [*body[:at], first, *body[at:], last]
    module = ast.fix_missing_locations(ast.Module([function], []))
    made = compile(module, code.co_filename, "exec", code.co_flags & _FEATURES, dont_inherit=True)
    return next(one for one in made.co_consts if isinstance(one, CodeType) and one.co_name == code.co_name)


def _is_of(node: ast.AST, code: CodeType) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Whether `node` is the definition of `code`, whose first line is that of its first decorator."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    return node.name == code.co_name and min(one.lineno for one in [node, *node.decorator_list]) == code.co_firstlineno


class _TellsReturns(ast.NodeTransformer):
    """`return value` becomes `return returned(number, value, locals())`; what is defined inside stays as it is."""

    def __init__(self, number: int) -> None:
        self.number = number

    def visit_Return(self, node: ast.Return) -> ast.Return:
        call = ast.parse(f"{_RETURNED}({self.number}, None, {_LOCALS}())", mode="eval").body
        assert isinstance(call, ast.Call)
        call.args[1] = node.value or call.args[1]
        return ast.copy_location(ast.Return(call), node)

    def _kept(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = _kept  # noqa: N815
