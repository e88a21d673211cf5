"""The retry decorator: attempts, back-off, deadlines, budgets, circuit breakers, hedging, and out of memory."""

from __future__ import annotations

import gc
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from mlguard_nb import clock as clocks
from mlguard_nb.devices import frameworks
from mlguard_nb.errors import PolicyError, add_note, in_words
from mlguard_nb.policy.values import RetryPolicy
from mlguard_nb.runtime import deadline, wrapping
from mlguard_nb.runtime.attempts import Attempts, GaveUp, Wait, budget_of
from mlguard_nb.runtime.budget import RetryBudget
from mlguard_nb.runtime.dead_frames import clear_frames, release
from mlguard_nb.runtime.halving import Arguments, check_parameter, halved
from mlguard_nb.runtime.options import decorate, policy_from
from mlguard_nb.runtime.wrapping import Guard, Kind
from mlguard_nb.telemetry import bus, tracing

if TYPE_CHECKING:
    from mlguard_nb.telemetry.events import RetryScheduled

__all__ = ["RetryGuard", "retry"]

F = TypeVar("F", bound=Callable[..., Any])

# The failure travels in a list that the callee empties, so that no frame here keeps it alive during the next attempt.
_SYNC = """\
_mlguard_failed = []
try:
    _mlguard_result = <call>
except Exception as _mlguard_error:
    _mlguard_failed.append(_mlguard_error)
else:
    if type(_mlguard_result) is _mlguard_coroutine:
        return _mlguard_guard.awaited(_mlguard_result, <args>, <kwargs>)
    return _mlguard_result
return _mlguard_guard.again(_mlguard_failed, <args>, <kwargs>)
"""
_ASYNC = """\
_mlguard_failed = []
try:
    _mlguard_result = await <call>
except Exception as _mlguard_error:
    _mlguard_failed.append(_mlguard_error)
else:
    return _mlguard_result
return await _mlguard_guard.again_async(_mlguard_failed, <args>, <kwargs>)
"""
_GOOD = "    return _mlguard_result\n"
# CircuitBreaker.succeeded, as far as it concerns a closed breaker.
_COUNT_SUCCESS = """\
    if _mlguard_breaker.is_closed:
        _mlguard_breaker.successes += 1
    else:
        _mlguard_breaker.succeeded()
"""
_GENERATOR = """\
_mlguard_inner, _mlguard_more, _mlguard_item = _mlguard_guard.begin(<args>, <kwargs>)
if not _mlguard_more:
    return _mlguard_item
while True:
    try:
        _mlguard_sent = yield _mlguard_item
    except GeneratorExit:
        _mlguard_inner.close()
        raise
    except BaseException as _mlguard_thrown:
        try:
            _mlguard_item = _mlguard_inner.throw(_mlguard_thrown)
        except StopIteration as _mlguard_stop:
            return _mlguard_stop.value
    else:
        try:
            _mlguard_item = _mlguard_inner.send(_mlguard_sent)
        except StopIteration as _mlguard_stop:
            return _mlguard_stop.value
"""
_BEGIN_ASYNC = "_mlguard_inner, _mlguard_more, _mlguard_item = await _mlguard_guard.begin_async(<args>, <kwargs>)\n"
_ASYNCGEN = _BEGIN_ASYNC + (
    "if not _mlguard_more:\n    return\n"
    + wrapping.DELEGATE.replace("_mlguard_inner = <call>\n", "").replace(
        "    _mlguard_item = await _mlguard_inner.__anext__()\n", ""
    )
)


class RetryGuard(Guard):
    """The state of one retried function: its budget and, where it has one, its breaker."""

    part, decorator = "retry", "retry"
    policy: RetryPolicy

    def reset(self) -> None:
        """Nothing of its own; a breaker without a name is told by this function's."""
        self._name_breaker()

    def _name_breaker(self) -> None:
        breaker = self.policy.breaker
        if breaker is not None and not breaker.label:
            breaker.label = self.label

    def attach(self, function: Callable[..., Any], kind: Kind) -> None:
        """Refuse `halve:` of a parameter that is not there; say once that a sync timeout stops nothing."""
        super().attach(function, kind)
        policy = self.policy
        self._name_breaker()
        if policy.on_oom.startswith("halve:"):
            check_parameter(function, policy.on_oom[6:])
        if policy.timeout is not None and kind in ("sync", "generator"):
            warnings.warn(
                f"retry: timeout={policy.timeout:g} cannot stop {self.label}, a sync function: each attempt takes "
                "as long as it takes. Use an async function, a %%guard cell, or the timeout of the library you call",
                UserWarning,
                stacklevel=5,
            )
        if policy.hedge_after is not None and kind != "coroutine":
            raise PolicyError(f"retry: hedge_after needs an async function, and {self.label} is none")

    def _needs_more(self) -> bool:
        """Whether the first attempt needs something around it besides a breaker, so that no fast template will do."""
        p = self.policy
        slow_calls = p.breaker is not None and p.breaker.slow_call is not None
        asked = (p.deadline, p.timeout, p.retry_on_result, p.hedge_after)
        return slow_calls or any(value is not None for value in asked)

    def template(self, kind: Kind) -> str:
        """The fast template where the policy allows it."""
        if kind == "generator":
            return _GENERATOR
        if kind == "asyncgen":
            return _ASYNCGEN
        run = "_mlguard_guard.run" if kind == "sync" else "await _mlguard_guard.run_async"
        whole = f"return {run}([], <args>, <kwargs>)\n"
        if self._needs_more():
            return whole
        plain = _SYNC if kind == "sync" else _ASYNC
        if self._budget() is not None:
            refill = "if not _mlguard_budget.is_full:\n        _mlguard_budget.give_back()"
            plain = plain.replace(_GOOD, f"    {refill}\n{_GOOD}")
        goes_slow = "_mlguard_tracing.on"
        if self.policy.breaker is not None:
            plain = plain.replace(_GOOD, f"{_COUNT_SUCCESS}{_GOOD}")
            goes_slow += " or not _mlguard_breaker.is_closed"
        return f"if {goes_slow}:\n    {whole}{plain}"

    def objects(self, kind: Kind) -> Mapping[str, Any]:
        """The budget, the breaker, and whether spans are made, read on every call."""
        budget, breaker = self._budget(), self.policy.breaker
        return {
            "_mlguard_budget": budget,
            "_mlguard_breaker": breaker,
            "_mlguard_tracing": tracing.SWITCH,
            "_mlguard_coroutine": CoroutineType,
        }

    def _budget(self) -> RetryBudget | None:
        return budget_of(self.policy, self.label)

    # Sync.

    def again(self, failed: list[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Go on after the first attempt, made by the wrapper itself, failed."""
        return self.run(failed, args, kwargs)

    def run(self, failed: list[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """All attempts; where `failed` holds an error, the first one has been made."""
        tracing.look()
        clock = clocks.current()
        with deadline.limit(self.policy.deadline, clock):
            attempts = Attempts(self.policy, name=self.label, clock=clock)
            if failed and self.policy.breaker is not None:
                self.policy.breaker.failed()
            while True:
                if not failed:
                    try:
                        result = self._once(attempts, args, kwargs)
                    except Exception as error:
                        failed.append(error)
                    else:
                        if type(result) is CoroutineType:
                            return self.awaited(result, args, kwargs, attempts)
                        if not self._is_unsatisfying(result):
                            return self._succeeded(result, attempts)
                        decision = attempts.unsatisfying()
                        if isinstance(decision, GaveUp):
                            self._tell_gave_up(decision, repr(result)[:200])
                            return result
                        self._tell(decision, f"unsatisfying result {result!r}"[:200])
                        del result
                        clock.sleep(decision.seconds)
                        continue
                wait = self._followed(attempts.failed(failed[-1]), failed)
                args, kwargs = self._after_oom(wait, failed, args, kwargs)
                release(failed)
                clock.sleep(wait.seconds)

    def _once(self, attempts: Attempts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        breaker = self.policy.breaker
        probe = 0 if breaker is None else breaker.enter()
        started = attempts.clock.now()
        try:
            with self._span(attempts):
                result = self.function(*args, **kwargs)
        except Exception:
            if breaker is not None:
                breaker.failed(probe)
            raise
        except BaseException:
            if breaker is not None:
                breaker.given_up(probe)
            raise
        if breaker is not None and type(result) is CoroutineType:  # which says nothing yet
            breaker.given_up(probe)
        elif breaker is not None:
            breaker.succeeded(attempts.clock.now() - started, probe)
        return result

    def _span(self, attempts: Attempts) -> Any:
        """A span for the attempt under way, where spans are made: the last stage of a trace."""
        return tracing.span_if_on(f"{self.label} attempt", {"mlguard.attempt": attempts.number})

    # Async: the same, awaiting.

    async def again_async(self, failed: list[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Go on after the first attempt, made by the wrapper itself, failed."""
        return await self.run_async(failed, args, kwargs)

    async def run_async(self, failed: list[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """All attempts; where `failed` holds an error, the first one has been made."""
        tracing.look()
        clock = clocks.current()
        with deadline.limit(self.policy.deadline, clock):
            attempts = Attempts(self.policy, name=self.label, clock=clock)
            if failed and self.policy.breaker is not None:
                await _asked(self.policy.breaker, self.policy.breaker.failed)
            while True:
                if not failed:
                    try:
                        result = await self._once_async(attempts, args, kwargs)
                    except Exception as error:
                        failed.append(error)
                    else:
                        if not self._is_unsatisfying(result):
                            return self._succeeded(result, attempts)
                        decision = await _asked(self._budget(), attempts.unsatisfying)
                        if isinstance(decision, GaveUp):
                            self._tell_gave_up(decision, repr(result)[:200])
                            return result
                        self._tell(decision, f"unsatisfying result {result!r}"[:200])
                        del result
                        await clock.sleep_async(decision.seconds)
                        continue
                decision = await _asked(self._budget(), attempts.failed, failed[-1])
                wait = self._followed(decision, failed)
                args, kwargs = self._after_oom(wait, failed, args, kwargs)
                release(failed)
                await clock.sleep_async(wait.seconds)

    async def _once_async(self, attempts: Attempts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        breaker = self.policy.breaker
        probe = 0 if breaker is None else await _asked(breaker, breaker.enter)
        started = attempts.clock.now()
        try:
            with self._span(attempts):
                result = await self._timed(attempts, args, kwargs)
        except Exception:
            if breaker is not None:
                await _asked(breaker, breaker.failed, probe)
            raise
        except BaseException:
            if breaker is not None:
                await _asked(breaker, breaker.given_up, probe)
            raise
        if breaker is not None:
            await _asked(breaker, breaker.succeeded, attempts.clock.now() - started, probe)
        return result

    async def _timed(self, attempts: Attempts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left = [seconds for seconds in (self.policy.timeout, attempts.ends_at) if seconds is not None]
        if attempts.ends_at is not None:
            left[-1] = max(0.0, attempts.ends_at - attempts.clock.now())
        after = self.policy.hedge_after
        if after is None:
            call = self.function(*args, **kwargs)
        else:
            from mlguard_nb.runtime.hedging import hedged

            call = hedged(lambda: self.function(*args, **kwargs), after, attempts.clock)
        return await (deadline.within(min(left), call) if left else call)

    # Generators: tried again only until the first item.

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bool, Any]:
        """(the running generator, whether it gave an item, the item or the return value)."""
        function: Any = self.function

        def first(*args: Any, **kwargs: Any) -> tuple[Any, bool, Any]:
            inner = function(*args, **kwargs)
            try:
                return inner, True, next(inner)
            except StopIteration as stop:
                return inner, False, stop.value

        found: tuple[Any, bool, Any] = self._with(first).run([], args, kwargs)
        return found

    async def begin_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bool, Any]:
        """(the running async generator, whether it gave an item, the item)."""
        function: Any = self.function

        async def first(*args: Any, **kwargs: Any) -> tuple[Any, bool, Any]:
            inner = function(*args, **kwargs)
            try:
                return inner, True, await inner.__anext__()
            except StopAsyncIteration:
                return inner, False, None

        found: tuple[Any, bool, Any] = await self._with(first).run_async([], args, kwargs)
        return found

    async def awaited(
        self,
        coroutine: CoroutineType[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        attempts: Attempts | None = None,
    ) -> Any:
        """The attempts of a sync function that has returned a coroutine: it fails or not when that is awaited."""
        begun = [coroutine]
        function: Any = self.function

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = begun.pop() if begun else function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        policy = self.policy
        if attempts is not None:  # those before it raised at once, and count
            left = attempts.ends_at and max(1e-3, attempts.ends_at - attempts.clock.now())
            policy = replace(policy, attempts=policy.attempts - attempts.number + 1, deadline=left)
        try:
            return await self._with(call, policy).run_async([], args, kwargs)
        finally:
            for never_awaited in begun:
                never_awaited.close()

    def _with(self, function: Callable[..., Any], policy: RetryPolicy | None = None) -> RetryGuard:
        """This guard around another function: what begins a generator, or awaits a coroutine."""
        other = RetryGuard(policy or replace(self.policy, retry_on_result=None), self.name)
        other.function, other.label, other.kind = function, self.label, self.kind
        other.signature_of = self.function
        return other

    signature_of: Any = None

    # What both share.

    def _is_unsatisfying(self, result: Any) -> bool:
        accept = self.policy.retry_on_result
        return callable(accept) and bool(accept(result))

    def _succeeded(self, result: Any, attempts: Attempts) -> Any:
        budget = self._budget()
        if budget is not None and attempts.number == 1 and not budget.is_full:
            budget.give_back()
        return result

    def _followed(self, decision: Wait | GaveUp, failed: list[Exception]) -> Wait:
        """How long to wait; raises the user's own exception, with a note, where there is no further attempt."""
        if isinstance(decision, Wait):
            self._tell(decision, in_words(failed[-1])[:200])
            return decision
        error = failed.pop()
        if decision.note:
            add_note(error, decision.note)
            self._tell_gave_up(decision, in_words(error)[:200])
        try:
            raise error
        finally:
            del error

    def _tell(self, wait: Wait, error: str) -> None:
        on_retry = self.policy.on_retry
        if not bus.is_heard() and not callable(on_retry):
            return
        from mlguard_nb.telemetry.events import RetryScheduled

        event = RetryScheduled(
            function=self.label, attempt=wait.attempt, wait_seconds=wait.seconds, reason=wait.reason, error=error
        )
        bus.emit(event)
        if callable(on_retry):
            on_retry(event)

    def _tell_gave_up(self, decision: GaveUp, error: str) -> None:
        if bus.is_heard():
            from mlguard_nb.telemetry.events import RetriesExhausted

            bus.emit(
                RetriesExhausted(
                    function=self.label, attempts=decision.attempts, elapsed_seconds=decision.elapsed_seconds,
                    reason=decision.reason, error=error,
                )
            )  # fmt: skip

    def _after_oom(
        self, wait: Wait, failed: list[Exception], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Arguments:
        """Free what can be freed, and halve the parameter where the policy says so."""
        if wait.reason != "oom":
            return args, kwargs
        for error in failed:
            clear_frames(error)
        gc.collect()
        frameworks.empty_caches()
        if not self.policy.on_oom.startswith("halve:"):
            return args, kwargs
        try:
            return halved(self.signature_of or self.function, self.policy.on_oom[6:], args, kwargs)
        except ValueError as reason:
            add_note(failed[-1], str(reason))
        error = failed.pop()
        try:
            raise error
        finally:
            del error


async def _asked(shared: Any, method: Callable[..., Any], *arguments: Any) -> Any:
    """What a method of a breaker or budget answers; of one that asks a server on a thread: a loop must not wait."""
    if not getattr(shared, "asks_server", False):
        return method(*arguments)
    from asyncio import to_thread

    return await to_thread(method, *arguments)


@overload
def retry(function: F, /) -> F: ...
@overload
def retry(policy: RetryPolicy, /, *, name: str | None = None) -> Callable[[F], F]: ...
@overload
def retry(
    *,
    on: Any = ...,
    retry_on_result: Callable[[Any], bool] | None = ...,
    attempts: int = ...,
    deadline: float | str | None = ...,
    timeout: float | str | None = ...,
    wait_initial: float | str = ...,
    wait_max: float | str = ...,
    jitter: str | None = ...,
    respect_retry_after: bool = ...,
    budget: Any = ...,
    hedge_after: float | str | None = ...,
    on_oom: str = ...,
    breaker: Any = ...,
    on_retry: Callable[[RetryScheduled], Any] | None = ...,
    name: str | None = None,
) -> Callable[[F], F]: ...
def retry(given: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Call the function again when it fails: up to `attempts` calls, with jittered, growing waits between them.

    Durations are seconds or text such as "30s". `on` holds exception types or a predicate; by default every Exception
    is retried but programming errors, out of memory, InputRejected and CircuitOpen. Cancellation never is. `deadline`
    ends all attempts and is inherited by nested retries; `timeout` is of one attempt (async only). `on_oom` is "fail",
    "clear" or "halve:<parameter>". When attempts run out the function's own last exception is raised, with a note.

    Raises PolicyError at decoration for values that cannot be.
    """
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    policy = policy_from(RetryPolicy, None if is_function else given, options, "retry")
    return decorate(given, lambda function: wrapping.wrap(function, RetryGuard(policy, name)))
