"""The one mechanism behind every decorator: a wrapper generated with the function's own signature.

A guard brings a template of Python source for each kind of function; `wrap` fills in the call, compiles it once for
every signature, and gives the result the function's name, types and attributes. So a call costs one frame and no
packing of arguments, `inspect` and type checkers see the function itself, and tracebacks show the wrapper's lines
(they are registered in linecache, as attrs and dataclasses do it).
"""

from __future__ import annotations

import builtins
import functools
import inspect
import linecache
import os
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar, cast

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy import switches
from mlguard_nb.policy.values import PARTS, GuardPolicy

__all__ = ["DELEGATE", "Guard", "Kind", "OrderWarning", "guards_of", "innermost", "kind_of", "reach_innermost", "wrap"]

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["sync", "coroutine", "generator", "asyncgen"]


class OrderWarning(UserWarning):
    """Decorators were stacked by hand in another order than the canonical one; the message names the consequence."""


# Names inside generated source. No function has parameters of these names.
CALL, ARGS, KWARGS = "<call>", "<args>", "<kwargs>"

# The body that hands every item, sent value, thrown error and close of an async generator through.
DELEGATE = """\
_mlguard_inner = <call>
try:
    _mlguard_item = await _mlguard_inner.__anext__()
    while True:
        try:
            _mlguard_sent = yield _mlguard_item
        except GeneratorExit:
            await _mlguard_inner.aclose()
            raise
        except BaseException as _mlguard_thrown:
            _mlguard_item = await _mlguard_inner.athrow(_mlguard_thrown)
        else:
            _mlguard_item = await _mlguard_inner.asend(_mlguard_sent)
except StopAsyncIteration:
    return
"""

_OFF = {
    "sync": "if _mlguard_switch.off: return <call>\n",
    "coroutine": "if _mlguard_switch.off: return await <call>\n",
    "generator": "if _mlguard_switch.off: return (yield from <call>)\n",
    "asyncgen": "if _mlguard_switch.off:\n"
    + "".join(f"    {line}\n" for line in DELEGATE.splitlines())
    + "    return\n",
}


class Guard:
    """What one decorator keeps for one function: its policy, its state, and the source of its wrapper.

    `label` is the function's name in events and metrics. A subclass sets `part` and `decorator`, gives a template for
    each kind in `template`, and builds everything that must not travel (locks, counters, handles) in `reset`.
    """

    part: ClassVar[str]
    decorator: ClassVar[str]

    def __init__(self, policy: Any, name: str | None = None) -> None:
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise PolicyError(f"{self.decorator}: name must be a word, got {name!r}")
        self.policy, self.name, self.label = policy, name, name or ""
        self.kind: Kind = "sync"
        self.function: Any = None
        self.reset()

    def reset(self) -> None:
        """Make what is not pickled: locks, counters, handles. Called when built and again when loaded."""

    def attach(self, function: Callable[..., Any], kind: Kind) -> None:
        """Called once, before the wrapper is generated. PolicyError where this function cannot be guarded so."""
        self.function, self.kind = function, kind
        self.label = self.name or label_of(function)

    def template(self, kind: Kind) -> str:
        """Source of the wrapper's body, with <call>, <args> and <kwargs> to be filled in; `_mlguard_guard` is self."""
        raise NotImplementedError

    def objects(self, kind: Kind) -> Mapping[str, Any]:
        """Further objects the template names, each beginning with _mlguard_."""
        return {}

    def kept(self) -> tuple[str, ...]:
        """The attributes that travel when the function is pickled by value; the rest is made anew by `reset`."""
        return ("policy", "name", "label", "kind", "function")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.kept()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.reset()


def label_of(function: Any) -> str:
    """The name of a function as a person knows it: without the scopes it was defined in."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if name is None and isinstance(function, functools.partial):
        return label_of(function.func)
    return str(name or type(function).__name__).rpartition("<locals>.")[2]


def kind_of(function: Any) -> Kind:
    """Which of the four kinds of function this is; callable objects are judged by their `__call__`."""
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    if not isinstance(target, (types.FunctionType, types.MethodType)):
        call = getattr(type(target), "__call__", None)  # noqa: B004 - the method itself is wanted, not whether there is one
        target = call if isinstance(call, types.FunctionType) else target
    if inspect.isasyncgenfunction(target):
        return "asyncgen"
    if inspect.iscoroutinefunction(target):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(target) else "sync"


def guards_of(function: Any) -> tuple[Guard, ...]:
    """The guards around `function`, outermost first."""
    return cast("tuple[Guard, ...]", getattr(function, "__mlguard_guards__", ()))


def wrap(function: F, guard: Guard) -> F:
    """`function` behind `guard`: the same signature, kind, name and attributes.

    `__mlguard__` of the result is one GuardPolicy for the whole stack, `__wrapped__` the function below. PolicyError
    for what is no function. A class method or static method is guarded in either order of decorators.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return cast("F", type(function)(wrap(function.__func__, guard)))
    if isinstance(function, type) or not callable(function):
        what = f"the class {function.__name__}" if isinstance(function, type) else repr(function)
        raise PolicyError(f"{guard.decorator} guards functions, and {what} is none: decorate its methods instead")
    kind = kind_of(function)
    guard.attach(function, kind)
    wrapper = _generate(function, guard, kind)
    functools.update_wrapper(wrapper, function)
    inner = guards_of(function)
    stack = (guard, *inner)
    _warn_about_order(guard, inner)
    base: GuardPolicy = getattr(function, "__mlguard__", None) or GuardPolicy()
    name = guard.name or base.name
    if guard.name:
        for other in inner:
            other.label = guard.name
    elif base.name:
        guard.label = base.name
    wrapper.__mlguard__ = replace(base, name=name, **{guard.part: guard.policy})  # type: ignore[attr-defined]
    wrapper.__mlguard_guards__ = stack  # type: ignore[attr-defined]
    if not inner:
        _innermost.add(wrapper)
        for reached in _reached:
            reached(wrapper, guard)
    return cast("F", wrapper)


_innermost: weakref.WeakSet[types.FunctionType] = weakref.WeakSet()


def innermost() -> Iterator[tuple[types.FunctionType, Guard]]:
    """Every wrapper of this process that stands right around a user's function, with its guard."""
    for wrapper in list(_innermost):
        yield wrapper, guards_of(wrapper)[0]


_reached: tuple[Callable[[types.FunctionType, Guard], None], ...] = ()


def reach_innermost(reached: Callable[[types.FunctionType, Guard], None]) -> Callable[[], None]:
    """Call `reached` with what `innermost` gives, now, and with what is decorated later; returns what ends that."""
    global _reached
    _reached = (*_reached, reached)
    for wrapper, guard in innermost():
        reached(wrapper, guard)

    def end() -> None:
        global _reached
        _reached = tuple(other for other in _reached if other is not reached)

    return end


def _generate(function: Any, guard: Guard, kind: Kind) -> types.FunctionType:
    parameters = _parameters(function)
    head, call, args, kwargs = _spelled(parameters)
    body = (_OFF[kind] + guard.template(kind)).replace(CALL, call).replace(ARGS, args).replace(KWARGS, kwargs)
    start = "async def" if kind in ("coroutine", "asyncgen") else "def"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    code = _compiled(f"{start} wrapper({head}):\n{lines}", guard.decorator)
    named: dict[str, Any] = {"co_name": getattr(function, "__name__", guard.label)}
    if sys.version_info >= (3, 11):
        named["co_qualname"] = getattr(function, "__qualname__", guard.label)
    space = {
        "__builtins__": builtins,
        "__name__": getattr(function, "__module__", None) or __name__,
        "_mlguard_function": function,
        "_mlguard_guard": guard,
        "_mlguard_switch": switches.switch(guard.decorator),
        **guard.objects(kind),
    }
    positional = (p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    defaults = tuple(p.default for p in positional if p.default is not p.empty)
    wrapper = types.FunctionType(code.replace(**named), space, guard.label, defaults or None)
    keyword = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}
    wrapper.__kwdefaults__ = keyword or None
    return wrapper


def _parameters(function: Any) -> tuple[inspect.Parameter, ...]:
    """How the function itself is called; what a foreign decorator below forwards is its own business."""
    try:
        return tuple(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (ValueError, TypeError):  # C functions without a signature
        return (
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        )


def _spelled(parameters: tuple[inspect.Parameter, ...]) -> tuple[str, str, str, str]:
    """(head, call, positional arguments as a tuple, keyword arguments as a dict), all as source."""
    head, positional, keyword, pairs = [], [], [], []
    last_kind = None
    for parameter in parameters:
        kind, name = parameter.kind, parameter.name
        if last_kind is parameter.POSITIONAL_ONLY and kind is not parameter.POSITIONAL_ONLY:
            head.append("/")
        if kind is parameter.KEYWORD_ONLY and last_kind not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            head.append("*")
        default = "" if parameter.default is parameter.empty else "=None"
        star = "*" if kind is parameter.VAR_POSITIONAL else "**" if kind is parameter.VAR_KEYWORD else ""
        head.append(f"{star}{name}{default}")
        if kind is parameter.KEYWORD_ONLY:
            keyword.append(f"{name}={name}")
            pairs.append(f"{name!r}: {name}")
        elif kind is parameter.VAR_KEYWORD:
            keyword.append(f"**{name}")
            pairs.append(f"**{name}")
        else:
            positional.append(f"{star}{name}")
        last_kind = kind
    if last_kind is inspect.Parameter.POSITIONAL_ONLY:
        head.append("/")
    args = f"({', '.join(positional)}{',' if positional else ''})"
    return ", ".join(head), f"_mlguard_function({', '.join(positional + keyword)})", args, f"{{{', '.join(pairs)}}}"


@functools.lru_cache(maxsize=4096)
def _compiled(source: str, decorator: str) -> types.CodeType:
    """The code of one wrapper, shared by all functions of the same signature."""
    number = _compiled.cache_info().misses
    filename = f"<mlguard {decorator} {number}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = compile(source, filename, "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, types.CodeType))


# (outer part, inner part) stacked the wrong way round: what then happens.
_CONSEQUENCES = {
    ("retry", "monitor"): "monitor then counts every attempt as a call",
    ("retry", "validate"): "bad input is checked again for every attempt",
    ("retry", "cache"): "the cache is asked again for every attempt",
    ("retry", "memory"): "memory is admitted again for every attempt, and a refusal may be retried",
    ("memory", "cache"): "a cache hit then waits for memory that it does not need",
    ("memory", "validate"): "memory is admitted before bad input is refused",
    ("memory", "monitor"): "refusals for memory are not counted",
    ("cache", "validate"): "bad input is looked up in the cache, and coerced input has another key",
    ("cache", "monitor"): "calls answered from the cache are not counted",
    ("validate", "monitor"): "refused input is not counted",
}


def _warn_about_order(guard: Guard, inner: tuple[Guard, ...]) -> None:
    place = PARTS.index(guard.part)
    for other in inner:
        if other.part == guard.part:
            told = f"{guard.decorator} stands twice on {guard.label}; the outer one is the one that tools read"
        elif PARTS.index(other.part) < place:
            consequence = _CONSEQUENCES[(guard.part, other.part)]
            told = f"{guard.label}: {guard.decorator} stands outside {other.decorator}; {consequence}. Swap them."
        else:
            continue
        warnings.warn(told, OrderWarning, stacklevel=_levels_to_the_user())


_PACKAGE = os.path.dirname(os.path.dirname(__file__))


def _levels_to_the_user() -> int:
    """How many frames above the caller the first one outside this package is."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, levels = frame.f_back, levels + 1
    return levels
