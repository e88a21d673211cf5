"""A cell's result in the cache: the key it is found by, what is kept, and how a hit brings names and output back."""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import math
import os
import types
from typing import TYPE_CHECKING, Any

from mlguard_nb.dataflow import CellFacts, cell_facts
from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook.cell_inputs import live_ins_of
from mlguard_nb.notebook.facts import CacheFacts
from mlguard_nb.notebook.recorder import Recorder, replay
from mlguard_nb.policy.values import CachePolicy
from mlguard_nb.runtime import fingerprint, reach
from mlguard_nb.runtime.stores.entry import Entry, NotStorable
from mlguard_nb.telemetry import bus, events

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session

__all__ = ["CellCache"]


class CellCache:
    """The cache as one run of one cell sees it. PolicyError names an input whose content cannot be read."""

    def __init__(self, policy: CachePolicy, source: str, session: Session, label: str) -> None:
        self._policy, self._session, self._label = policy, session, label
        self._namespace = session.namespace
        self._facts = cell_facts(source)
        if self._facts.is_dynamic:
            raise PolicyError("cache: the cell binds names that cannot be seen in its text (exec, globals(), a magic)")
        self.inputs = self._counting(live_ins_of(source, self._namespace))
        code = _code(source)
        self._key = code + self._digest(ast.parse(source))
        self._recorder: Recorder | None = None
        self.trouble: str | None = None  # why the store could not be asked

    def restore(self, wall: float) -> CacheFacts | None:
        """Bind the names of a hit and show its output again; None on a miss."""
        entry = self._found()
        if entry is None or entry.fresh_until <= wall:
            bus.emit(events.CacheMiss(function=self._label))
            return None
        kept: dict[str, Any] = entry.value
        values = copy.deepcopy(kept["names"])
        self._namespace.update(values)
        for name, module in kept["modules"].items():
            self._namespace[name] = importlib.import_module(module)
        replay(kept["shown"], self._session.publisher)
        bus.emit(events.CacheHit(function=self._label))
        good = None if math.isinf(entry.fresh_until) else entry.fresh_until
        return CacheFacts(
            names=tuple(values), inputs=self.inputs, computed_wall=entry.stored,
            computed_seconds=float(kept["seconds"]), good_until_wall=good,
        )  # fmt: skip

    def _found(self) -> Entry | None:
        """The entry; None as well where the store does not answer: the cell then runs as if there were no cache."""
        try:
            found: Entry | None = self._session.cell_store(self._policy).get(self._key)
        except OSError as error:
            backend = self._policy.backend.partition(":")[0]
            bus.emit(events.CacheFailed(function=self._label, backend=backend, error=str(error)))
            self.trouble = f"the cache in {backend} could not be asked, so the cell ran: {error}"
            return None
        return found

    def record(self) -> None:
        """From now on what the cell shows is remembered."""
        self._recorder = Recorder(self._session)
        self._recorder.start()

    def keep(self, wall: float, seconds: float) -> str | None:
        """Store what the cell bound and showed; what to say of the cache: why it could not be asked, or could not keep
        the result. None where all went well.
        """
        shown = self._recorder.stop() if self._recorder is not None else []
        modules: dict[str, str] = {}
        names: dict[str, Any] = {}
        for name in sorted(_results(self._facts)):
            value = self._namespace.get(name)
            if isinstance(value, types.ModuleType):
                modules[name] = value.__name__
            elif name in self._namespace:
                names[name] = value
        ends = math.inf if self._policy.ttl is None else wall + self._policy.ttl
        try:
            value = {"names": copy.deepcopy(names), "modules": modules, "shown": shown, "seconds": seconds}
            self._session.cell_store(self._policy).put(self._key, Entry(value, wall, ends, ends))
        except (NotStorable, OSError, TypeError, ValueError) as error:
            return f"not kept in the cache: {error}"
        return self.trouble

    def close(self) -> None:
        """The run is over."""
        if self._recorder is not None:
            self._recorder.stop()

    def _counting(self, live_ins: tuple[str, ...]) -> tuple[str, ...]:
        policy = self._policy
        if isinstance(policy.key, tuple):
            missing = [name for name in policy.key if name not in self._namespace]
            if missing:
                raise PolicyError(f"key={missing[0]}: there is no {missing[0]!r} here. Name what the cell reads.")
            return policy.key
        kept = [name for name in live_ins if name not in policy.ignore]
        return tuple(name for name in kept if not isinstance(self._namespace[name], types.ModuleType))

    def _digest(self, tree: ast.Module) -> bytes:
        """The inputs' content, the code of the user's functions they lead to, and the files they name."""
        parts: list[bytes] = []
        for name in self.inputs:
            value = self._namespace[name]
            parts.append(name.encode())
            if isinstance(value, (types.FunctionType, type)) and reach.is_users(value.__module__):
                parts += _of_code(value)
            else:
                parts.append(fingerprint.of(value, name=name, watch_files=True))
        literal = False
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                mark = fingerprint.file_mark(node.value)
                literal = literal or (mark is not None and not os.path.isabs(node.value))
                parts.append(repr(mark).encode() if mark is not None else b"")
        if literal:
            parts.append(os.getcwd().encode())
        return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


def _of_code(function: Any) -> list[bytes]:
    found = reach.reach_of(function)
    data = sorted(found.data, key=lambda read: read.name)
    return [found.digest, *(fingerprint.of(read.namespace.get(read.name), name=read.name) for read in data)]


def _results(facts: CellFacts) -> frozenset[str]:
    """What the cell leaves behind: the names it binds, and the inputs that it may have changed in place."""
    return (facts.bound | facts.mutated) - (facts.deleted - facts.maybe_deleted)


def _code(source: str) -> bytes:
    """16 bytes for the cell's code; comments and blank lines do not count."""
    return hashlib.blake2b(ast.dump(ast.parse(source)).encode(), digest_size=16).digest()
