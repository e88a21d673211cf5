"""The validate_input decorator: every broken rule of every argument, in one error, before the function runs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints, overload

from mlguard_nb.errors import InputRejected, PolicyError, Violation
from mlguard_nb.policy.values import ValidatePolicy
from mlguard_nb.runtime import learning, wrapping
from mlguard_nb.runtime.arrays import is_array
from mlguard_nb.runtime.checking import Checks, Examined, from_annotation
from mlguard_nb.runtime.fallbacks import check_fallback
from mlguard_nb.runtime.frames import is_frame
from mlguard_nb.runtime.options import decorate
from mlguard_nb.runtime.shapes import Bindings
from mlguard_nb.runtime.wrapping import DELEGATE, Guard, Kind
from mlguard_nb.telemetry import bus

if TYPE_CHECKING:
    from mlguard_nb.runtime.drift import DriftWatch
    from mlguard_nb.runtime.reference import Drift, Reference

__all__ = ["ValidateGuard", "refuse", "validate_input"]

F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger("mlguard.validate")

# How each kind hands the call on where the arguments are certainly good, and where only the full check can tell.
_CALLS = {
    "sync": ("return <call>\n", "return _mlguard_guard.call(<args>, <kwargs>)\n"),
    "coroutine": ("return await <call>\n", "return await _mlguard_guard.call_async(<args>, <kwargs>)\n"),
    "generator": (
        "return (yield from <call>)\n",
        "return (yield from _mlguard_guard.items(<args>, <kwargs>))\n",
    ),
    "asyncgen": (DELEGATE, DELEGATE.replace("<call>", "_mlguard_guard.items(<args>, <kwargs>)")),
}


class _Answered(Exception):
    """Internal: a fallback answered instead of the function. Never leaves this module."""


class ValidateGuard(Guard):
    """The state of one validated function: its compiled checks and, with a Reference, its drift watch."""

    part, decorator = "validate", "validate_input"
    policy: ValidatePolicy
    checks: Checks
    watch: DriftWatch | None = None

    def kept(self) -> tuple[str, ...]:
        """The checks travel; the drift watch makes itself a new thread."""
        return (*super().kept(), "checks", "watch", "signature")

    def attach(self, function: Callable[..., Any], kind: Kind) -> None:
        """Compile the checks. PolicyError names a parameter that is not there or a schema that cannot be."""
        super().attach(function, kind)
        try:
            self.signature = inspect.signature(function)
        except (ValueError, TypeError) as error:
            raise PolicyError(f"validate_input: {self.label} does not tell its parameters") from error
        schemas, returns = _annotated(function, self.signature)
        schemas.update(dict(self.policy.schemas))
        if not isinstance(self.policy.on_fail, str):
            check_fallback(function, self.policy.on_fail, self.label, option="validate: on_fail")
        if not self.policy.schemas:
            by_name = {name.casefold(): schema for name, schema in learning.learned().items()}
            found = {name: by_name[name.casefold()] for name in self.signature.parameters if name.casefold() in by_name}
            schemas = {**found, **schemas}
        if self.policy.returns is not None:
            returns = self.policy.returns
        if not schemas and returns is None and self.policy.stats is None:
            raise PolicyError(
                f"validate_input: nothing to check on {self.label}; give a schema for a parameter, annotate one with "
                "Annotated[..., Array(...)], or learn one with %guard schema"
            )
        if returns is not None and kind in ("generator", "asyncgen"):
            raise PolicyError(f"validate_input: {self.label} is a generator, which has no return value to check")
        self.checks = Checks(
            self.signature, schemas, returns=returns, coerce=self.policy.coerce, depth=self.policy.depth
        )
        if self.policy.stats is not None:
            from mlguard_nb.runtime.drift import DriftWatch
            from mlguard_nb.runtime.reference import Reference

            if not isinstance(self.policy.stats, Reference):
                raise PolicyError(f"validate_input: stats must be a Reference, got {type(self.policy.stats).__name__}")
            self.watch = DriftWatch(self.policy.stats, self._drifted)

    def _fast(self) -> tuple[str, dict[str, Any]] | None:
        if self.watch is not None or self.checks.returns is not None:
            return None
        return self.checks.fast_source(set(self.signature.parameters))

    def template(self, kind: Kind) -> str:
        """`if certainly good: call`; everything else asks `settle`."""
        direct, settled = _CALLS[kind]
        fast = self._fast()
        head = "" if fast is None else f"if {fast[0]}:\n{_indented(direct)}"
        if kind == "asyncgen" and fast is not None:
            head += "    return\n"
        return head + settled

    def objects(self, kind: Kind) -> Mapping[str, Any]:
        """What the fast expression names."""
        fast = self._fast()
        return {} if fast is None else fast[1]

    def _settle(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Bindings]:
        """The arguments to go on with, and the dimensions that they bound. Raises InputRejected, or _Answered where
        the fallback answers; warns where the policy only warns.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        examined, dimensions = self.checks.examine(bound.arguments)
        if self.watch is not None:
            examined = self._compare(examined)
        if examined.unusual:
            self._unusual(examined.unusual)
        if examined.violations:
            self._refused(examined)
        if self.policy.coerce:
            bound.arguments.update(examined.arguments)
            return bound.args, bound.kwargs, dimensions
        return args, kwargs, dimensions

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The whole call of a sync function, where the fast expression did not say yes."""
        try:
            args, kwargs, dimensions = self._settle(args, kwargs)
        except _Answered:
            return self.policy.on_fail(*args, **kwargs)
        result = self.function(*args, **kwargs)
        if type(result) is CoroutineType:
            return self._result_of(result, dimensions, args, kwargs)
        try:
            return self._checked(result, dimensions, args, kwargs)
        except _Answered:
            return self.policy.on_fail(*args, **kwargs)

    async def call_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same for an async function; an async fallback is awaited."""
        try:
            args, kwargs, dimensions = self._settle(args, kwargs)
        except _Answered:
            return await self._answer(args, kwargs)
        return await self._result_of(self.function(*args, **kwargs), dimensions, args, kwargs)

    async def _result_of(
        self, call: Awaitable[Any], dimensions: Bindings, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What `call` gives, checked; also of a sync function that has returned a coroutine."""
        result = await call
        try:
            return self._checked(result, dimensions, args, kwargs)
        except _Answered:
            return await self._answer(args, kwargs)

    async def _answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = self.policy.on_fail(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    def items(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a generator function of either kind makes of the arguments, or its fallback: to be iterated over."""
        try:
            args, kwargs, _dimensions = self._settle(args, kwargs)
        except _Answered:
            answer = self.policy.on_fail(*args, **kwargs)
            return _as_async(answer) if self.kind == "asyncgen" else answer
        return self.function(*args, **kwargs)

    def _checked(self, result: Any, dimensions: Bindings, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result, coerced where that is allowed. A bad one is refused as bad arguments are."""
        slot = self.checks.returns
        if slot is None:
            return result
        value, broken, unusual = slot.examine(result, dimensions)
        if unusual:
            self._unusual(tuple(unusual))
        if broken:
            arguments = self.signature.bind(*args, **kwargs).arguments
            self._refused(Examined({**arguments, slot.name: result}, tuple(broken), ()))
        return value

    def _refused(self, examined: Examined) -> None:
        on_fail = self.policy.on_fail
        if isinstance(on_fail, str) and on_fail.startswith("quarantine"):
            from mlguard_nb.runtime import quarantine

            folder = on_fail.partition(":")[2] or "quarantine"
            quarantine.keep(folder, self.label, examined.arguments, examined.violations)
        try:
            refuse(self.label, examined.violations, warn_only=on_fail == "warn")
        except InputRejected:
            if callable(on_fail):
                raise _Answered from None
            raise

    def _unusual(self, unusual: tuple[Violation, ...]) -> None:
        columns = tuple(violation.argument for violation in unusual)
        if bus.is_heard():
            from mlguard_nb.telemetry.events import InputUnusual

            bus.emit(InputUnusual(function=self.label, columns=columns))
        _log.debug("%s: outside what was seen before: %s", self.label, "; ".join(map(str, unusual)))

    def _compare(self, examined: Examined) -> Examined:
        """The first frame or array held against the reference now, and handed on to the drift watch: the first that has
        a schema, where one has.
        """
        assert self.watch is not None
        names = dict.fromkeys([*(slot.name for slot in self.checks.slots), *examined.arguments])
        for name in names:
            value = examined.arguments[name]
            if is_frame(value) or is_array(value):
                broken, unusual = self.watch.reference.check(name, value, self.policy.depth)
                if not broken:
                    self.watch.offer(value)
                break
        else:
            broken, unusual = [Violation("stats", "type", "an argument that is a frame or an array", "none")], []
        return Examined(examined.arguments, examined.violations + tuple(broken), examined.unusual + tuple(unusual))

    def _drifted(self, drifts: tuple[Drift, ...]) -> None:
        from mlguard_nb.telemetry.events import DriftMeasured

        for drift in drifts:
            bus.emit(
                DriftMeasured(
                    function=self.label, column=drift.column, psi=drift.psi, ks=drift.ks, mean_shift=drift.mean_shift
                )
            )
            if drift.is_shifted:
                _log.warning(
                    "%s: %s no longer looks like the training data (psi %.2f, ks %.2f, mean moved by %.2f deviations)",
                    self.label, drift.column, drift.psi, drift.ks, drift.mean_shift,
                )  # fmt: skip


async def _as_async(items: Any) -> Any:
    """The items of an iterable of either kind."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def refuse(function: str, violations: tuple[Violation, ...], *, warn_only: bool = False) -> None:
    """Tell the bus, and raise InputRejected or only log a warning. Used by guarded cells as well."""
    if bus.is_heard():
        from mlguard_nb.telemetry.events import InputRefused

        bus.emit(InputRefused(function=function, rules=tuple(violation.rule for violation in violations)))
    error = InputRejected(function, violations)
    if not warn_only:
        raise error
    _log.warning("%s", error)


def _annotated(function: Any, signature: inspect.Signature) -> tuple[dict[str, Any], Any]:
    """The schemas inside Annotated[...] annotations, by parameter, and that of the return value."""
    texts = [parameter.annotation for parameter in signature.parameters.values()] + [signature.return_annotation]
    written = [text for text in texts if text is not inspect.Parameter.empty]
    if not any("Annotated" in str(text) for text in written):
        return {}, None
    try:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    except NameError as error:
        raise PolicyError(
            f"validate_input: an annotation of {getattr(function, '__qualname__', function)} cannot be read: {error}. "
            "Define the name at the top of the module, or give the schema to the decorator"
        ) from error
    found = {name: schema for name, hint in hints.items() if (schema := from_annotation(hint)) is not None}
    returns = found.pop("return", None)
    return found, returns


@overload
def validate_input(function: F, /) -> F: ...
@overload
def validate_input(
    policy: ValidatePolicy | Mapping[str, Any],
    /,
    *,
    stats: Reference | None = ...,
    coerce: bool = ...,
    on_fail: Any = ...,
    depth: str = ...,
    returns: Any = ...,
    name: str | None = ...,
    **schemas: Any,
) -> Callable[[F], F]: ...
@overload
def validate_input(
    *,
    stats: Reference | None = ...,
    coerce: bool = ...,
    on_fail: Any = ...,
    depth: str = ...,
    returns: Any = ...,
    name: str | None = ...,
    **schemas: Any,
) -> Callable[[F], F]: ...
def validate_input(given: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Check the arguments before the function runs: `validate_input(x=Array("b 32", "float32", ge=0), df=Frame(...))`.

    A schema is an Array, a Frame, a Col, a type, a pydantic model, a typing construct or a pandera schema; schemas in
    `Annotated[...]` are read too. A parameter whose default is None may be None. A positional mapping names parameters
    whose names are options. `coerce` lets pydantic and pandera convert what they check; what an Array, a Frame or a Col
    describes never is. `on_fail`: "raise" InputRejected, "warn", "quarantine[:folder]" (keep the input, then raise), or
    a function called instead. `depth`: "full", "schema" (no values), "sample" (about 10,000 values). `returns` checks
    the result; one that is bad goes the way of bad input.

    `stats` is a Reference. The first argument that is a frame or an array must have its columns; what lies outside the
    range of the training data is counted as unusual; drift is measured on a thread.

    Raises PolicyError at decoration, InputRejected with every violation at the call.
    """
    fields = ("stats", "coerce", "on_fail", "depth", "returns")
    settings = {field: options.pop(field) for field in fields if field in options}
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    if isinstance(given, ValidatePolicy):
        if settings or options:
            raise PolicyError("validate_input: give a ValidatePolicy or its fields, not both")
        policy = given
    elif given is None or is_function or isinstance(given, Mapping):
        schemas = {**(given if isinstance(given, Mapping) else {}), **options}
        policy = ValidatePolicy(schemas=tuple(schemas.items()), **settings)
    else:
        raise PolicyError(f"validate_input takes a function, a mapping, a ValidatePolicy or keywords, not {given!r}")
    return decorate(given if is_function else None, lambda f: wrapping.wrap(f, ValidateGuard(policy, name)))
