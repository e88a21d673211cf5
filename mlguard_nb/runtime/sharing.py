"""Circuit breakers and retry budgets that processes share through a Redis or Valkey server.

What happens often, a call that succeeds, is only counted here, and told to the server once a second. What is rare, a
failure or a call while the circuit is not closed, asks the server, which decides with its own clock. While the server
is away each process decides for itself, with the state it knew last.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Any, Protocol

from mlguard_nb import clock
from mlguard_nb.errors import CircuitOpen, PolicyError
from mlguard_nb.runtime.breaker import CircuitBreaker
from mlguard_nb.runtime.budget import RetryBudget
from mlguard_nb.runtime.forking import renew_in_child
from mlguard_nb.runtime.redis_client import RedisClient
from mlguard_nb.runtime.sharing_scripts import BREAKER, BUDGET
from mlguard_nb.runtime.tolerance import Tolerance

__all__ = ["SharedCircuitBreaker", "SharedRetryBudget"]

_log = logging.getLogger("mlguard.retry")
_TELL_SECONDS = 1.0


class _Shared:
    """One value on the server, changed by a script; `name` is what processes share it under."""

    def __init__(self, server: str, kind: str, name: str, script: str) -> None:
        if not isinstance(name, str) or not name:
            raise PolicyError(f"{kind}: name must be the word under which processes share it, got {name!r}")
        self._client = RedisClient(server, f"{kind}: server")
        self._key, self._script = f"mlguard:{kind}:{name}", script
        self._tolerance = Tolerance(f"{self._client.shown}", f"the {kind} {name} is this process's own", _log)

    def ask(self, *arguments: Any) -> Any:
        """What the script answers; None while the server is away."""
        return self._tolerance.ask(lambda: self._client.ask("eval", self._script, 1, self._key, *arguments), None)


class SharedCircuitBreaker(CircuitBreaker):
    """A CircuitBreaker whose state is that of all processes that give the same `server` and `name`.

    `server` is an address such as "redis://host:6379/0". The settings are CircuitBreaker's and should be the same
    everywhere. A process learns that the circuit has opened with its next failure, or within a second of its next
    call. Probes are limited over all processes. PolicyError for values that cannot be, MissingExtra without redis.
    """

    asks_server = True  # an event loop asks on a thread

    def __init__(
        self,
        server: str,
        name: str,
        failure_rate: float = 0.5,
        minimum_calls: int = 10,
        window: float | str = 60.0,
        slow_call: float | str | None = None,
        open_for: float | str = 30.0,
        half_open_calls: int = 1,
    ) -> None:
        self._server, self._shared = server, _Shared(server, "breaker", name, BREAKER)
        super().__init__(failure_rate, minimum_calls, window, slow_call, open_for, half_open_calls, name)

    def after_fork(self) -> None:
        """The child asks the server before its first call."""
        super().after_fork()
        self.is_closed, self.successes = False, 0

    @property
    def state(self) -> str:
        """closed, half-open or open, as the server says now."""
        self._ask("look")
        return super().state

    def enter(self) -> int:
        """Ask to make one call; CircuitOpen with the seconds until the next probe where it is refused."""
        if self.is_closed:
            return 0
        _teller.add(self)
        now = clock.current().now()
        if self._state == "open" and now < self._until:
            raise CircuitOpen(self.label, self._until - now)
        answer = self._ask("enter")
        if answer is None:
            probe = super().enter()
            self.is_closed = self._state == "closed"
            return probe
        is_allowed, probe = answer
        if not is_allowed:
            raise CircuitOpen(self.label, max(0.0, self._until - clock.current().now()))
        return probe

    def succeeded(self, seconds: float | None = None, probe: int = 0) -> None:
        """Count one call that ended well, after `seconds`; `probe` is what `enter` answered."""
        is_slow = self.slow_call is not None and seconds is not None and seconds > self.slow_call
        if is_slow or self.is_closed or self._ask("succeeded", probe) is None:
            super().succeeded(seconds, probe)

    def failed(self, probe: int = 0) -> None:
        """Count one call that failed; `probe` is what `enter` answered."""
        if self._ask("failed", probe) is None:
            super().failed(probe)

    def given_up(self, probe: int = 0) -> None:
        """A call that was let in has neither succeeded nor failed (it was cancelled): its probe is free again."""
        if self._state == "half-open" and self._ask("given_up", probe) is None:
            super().given_up(probe)

    def tell(self) -> None:
        """Report the calls that succeeded since the last report, and learn the state."""
        if self.successes:
            self._ask("look")

    def _ask(self, what: str, probe: int = 0) -> tuple[bool, int] | None:
        """Whether the server allows the call, and its round of probes (0: none); None while the server is away.

        It is told of what has succeeded since.
        """
        count, self.successes = self.successes, 0
        answer = self._shared.ask(
            what, count, self.failure_rate, self.minimum_calls, _milliseconds(self.window),
            _milliseconds(self.open_for), self.half_open_calls, probe,
        )  # fmt: skip
        if answer is None:
            self.successes += count
            return None
        state, milliseconds, allowed, probe = answer
        with self._lock:
            self._until = clock.current().now() + milliseconds / 1000
            if state.decode() != self._state:
                self._ended.clear()
                self._probes = self._probes_passed = 0
                self._move(state.decode())
            self.is_closed = self._state == "closed"
        return bool(allowed), probe

    def _settings(self) -> tuple[Any, ...]:
        *others, name = super()._settings()
        return self._server, name, *others

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedCircuitBreaker, self._settings()

    def __repr__(self) -> str:
        return f"SharedCircuitBreaker({self._shared._client.shown!r}, {self.name!r})"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class SharedRetryBudget(RetryBudget):
    """A RetryBudget whose tokens are those of all processes that give the same `server` and `name`.

    `server` is an address such as "redis://host:6379/0"; `capacity` and `cost` should be the same everywhere.
    PolicyError for values that cannot be, MissingExtra without redis.
    """

    asks_server = True

    def __init__(self, server: str, name: str, capacity: int = 500, cost: int = 5) -> None:
        self._server, self.name = server, name
        self._shared = _Shared(server, "budget", name, BUDGET)
        super().__init__(capacity, cost)

    def after_fork(self) -> None:
        """What the parent has to tell, the parent tells."""
        super().after_fork()
        self._returned = 0

    def take(self) -> bool:
        """Pay for one retry; False where the budget of all processes is spent."""
        paid = self._ask(self.cost)
        return super().take() if paid is None else paid

    def give_back(self) -> None:
        """Count one call that succeeded at once."""
        with self._lock:
            self._returned += 1
        _teller.add(self)

    def tell(self) -> None:
        """Report the calls that succeeded since the last report."""
        if self._returned:
            self._ask(0)

    def _ask(self, cost: int) -> bool | None:
        with self._lock:
            returned, self._returned = self._returned, 0
        answer = self._shared.ask(self.capacity, cost, returned)
        with self._lock:
            self.tokens = min(self.capacity, self.tokens + returned) if answer is None else answer[1]
            self.is_full = self.tokens >= self.capacity
        return None if answer is None else bool(answer[0])

    def __getstate__(self) -> dict[str, Any]:
        return {"server": self._server, "name": self.name, **super().__getstate__()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedRetryBudget) and other.__getstate__() == self.__getstate__()

    def __hash__(self) -> int:
        return hash((self._server, self.name, self.capacity, self.cost))

    def __repr__(self) -> str:
        return f"SharedRetryBudget({self._shared._client.shown!r}, {self.name!r})"


class _Tells(Protocol):
    def tell(self) -> None: ...


class _Teller:
    """The thread of this process that tells the servers once a second what has happened; nothing where nothing has."""

    def __init__(self) -> None:
        self.after_fork()
        renew_in_child(self)

    def after_fork(self) -> None:
        """A child has no thread yet."""
        self._lock = threading.Lock()
        self._all: weakref.WeakValueDictionary[int, _Tells] = weakref.WeakValueDictionary()
        self._is_running = False

    def add(self, one: _Tells) -> None:
        """Have `one` tell from now on."""
        with self._lock:
            self._all[id(one)] = one
            if not self._is_running:
                threading.Thread(target=self._work, name="mlguard-sharing", daemon=True).start()
                self._is_running = True

    def _work(self) -> None:
        while True:
            time.sleep(_TELL_SECONDS)
            with self._lock:
                telling = list(self._all.values())
                self._is_running = bool(telling)
            if not telling:
                return
            for one in telling:
                one.tell()
            del telling


_teller = _Teller()
