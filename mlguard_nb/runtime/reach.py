"""What a function's result depends on beside its arguments: its code, the user's functions it reaches, and globals.

A library's code counts by name only: it changes with an installation, not with a keystroke.
"""

from __future__ import annotations

import builtins
import dis
import enum
import functools
import operator
import os
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlguard_nb.runtime.fingerprint import of, unwrapped

__all__ = ["Global", "Reach", "code_of_class", "is_users", "reach_of"]

_LONGEST_PATH = 260
_CONSTANTS = (int, float, complex, bool, str, bytes, type(None))


_ABSENT = object()


class _Namespace:
    """What a class holds, without keeping it alive: cells that define it anew leave the old ones behind."""

    __slots__ = ("_kind",)

    def __init__(self, kind: type) -> None:
        self._kind = weakref.ref(kind)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dictionary."""
        kind = self._kind()
        return default if kind is None else vars(kind).get(name, default)


class Global(NamedTuple):
    """One name that the code reads from `namespace`, a module's dictionary or a class's members, and what it meant
    then (_ABSENT: nothing).
    """

    namespace: dict[str, Any] | _Namespace
    name: str
    value: Any

    def has_changed(self) -> bool:
        """Whether the name means another object now."""
        return self.namespace.get(self.name, _ABSENT) is not self.value


class Members:
    """Members of a class that its objects share, and what they were then."""

    def __init__(self, kind: type, names: list[str]) -> None:
        self._kind = weakref.ref(kind)
        self._of = operator.itemgetter("__module__", "__module__", *names)  # of one name it would make no tuple
        self._values = self._of(vars(kind))

    def has_changed(self) -> bool:
        """Whether one of the names means another object now, or the class is gone."""
        kind = self._kind()
        try:
            return kind is None or not all(map(operator.is_, self._of(vars(kind)), self._values))
        except KeyError:
            return True


class Reach(NamedTuple):
    """`digest` covers all code and every constant. `watched` are the globals it rests on; when one of them means
    another object, ask again. `data` are globals whose content can change in place: read anew at each call. `texts`
    are the strings in the code and in globals that could name a file.
    """

    digest: bytes
    watched: tuple[Global | Members, ...]
    data: tuple[Global, ...]
    texts: tuple[str, ...]


def reach_of(function: Any) -> Reach:
    """Follow `function` (or a class) through the user's code, and through the package that it belongs to itself."""
    start = unwrapped(function) or function
    walk = _Walk((getattr(start, "__module__", None) or "").partition(".")[0])
    walk.visit(function)
    digest = of(tuple(walk.facts), name="code")
    return Reach(digest, tuple(walk.watched.values()), tuple(walk.data.values()), tuple(sorted(walk.texts)))


_classes: weakref.WeakKeyDictionary[type, Reach | None] = weakref.WeakKeyDictionary()
_MOST_CLASSES = 1000  # what is remembered may hold the class itself, by a name that its code reads


class _Following(threading.local):
    """The classes that this thread is following: what a class holds may be an object of that class."""

    def __init__(self) -> None:
        self.classes: set[type] = set()


_following = _Following()


def code_of_class(kind: type) -> bytes:
    """16 bytes for a user's class, what its code reaches and what all its objects share; b"" for a library's."""
    reach = _classes.get(kind, _ABSENT)
    if reach is None or kind in _following.classes:
        return b""
    _following.classes.add(kind)
    try:
        if not isinstance(reach, Reach) or any(known.has_changed() for known in reach.watched):
            if len(_classes) >= _MOST_CLASSES:
                _classes.clear()
            reach = _classes[kind] = reach_of(kind) if is_users(kind.__module__) else None
        if reach is None or not reach.data:
            return b"" if reach is None else reach.digest
        return of((reach.digest, [_content(known.namespace.get(known.name)) for known in reach.data]))
    finally:
        _following.classes.discard(kind)


def _content(value: Any) -> Any:
    """What stands for a value that belongs to a class or closure; its type where its content cannot be read."""
    from mlguard_nb.errors import PolicyError

    try:
        return of(value)
    except PolicyError:
        return type(value).__module__, type(value).__qualname__


def is_users(module: str | None) -> bool:
    """Whether a module is the user's own: not of the standard library and not installed."""
    if module is None or module in ("__main__", "builtins"):
        return module != "builtins"
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root in ("mlguard_nb", "mlguard_convert") or root.startswith("_cython_"):
        return False  # Cython keeps the types of compiled functions in a module that has no file
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module in sys.modules
    return not any(os.path.abspath(file).startswith(folder) for folder in _installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = (paths.get(key) for key in ("purelib", "platlib", "stdlib", "platstdlib"))
    return tuple(os.path.join(os.path.abspath(path), "") for path in found if path)


class _Walk:
    def __init__(self, home: str) -> None:
        self._home = home
        self.facts: list[Any] = []
        self.watched: dict[tuple[int, str], Global | Members] = {}
        self.data: dict[tuple[int, str], Global] = {}
        self.texts: set[str] = set()
        self._seen: set[int] = set()
        self._entered: set[tuple[int, int]] = set()  # (module, code): modules may import each other

    def visit(self, thing: Any) -> None:
        """A function or a class, once."""
        if isinstance(thing, type):
            self._class(thing)
            return
        function = unwrapped(thing)
        if function is None:
            self.facts.append(
                ("named", getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(type(thing))))
            )
            return
        for layer in (*self._wrappers(thing), function):
            if id(layer) not in self._seen:
                self._seen.add(id(layer))
                self._function(layer)

    def _wrappers(self, thing: Any) -> Iterator[types.FunctionType]:
        """The functions of the user's own decorators around a function."""
        layer: Any = getattr(thing, "__func__", thing)
        seen = set[int]()
        while hasattr(layer, "__wrapped__") and id(layer) not in seen:
            seen.add(id(layer))
            if isinstance(layer, types.FunctionType) and self._is_decorator(layer.__globals__):
                yield layer
            layer = getattr(layer, "__wrapped__")  # noqa: B009 - a type checker knows no such attribute of a function

    def _is_decorator(self, space: dict[str, Any]) -> bool:
        """Whether a wrapper is written in the user's module; its own __module__ is that of the wrapped function."""
        return "_mlguard_guard" not in space and self._is_followed(space.get("__name__"))

    def _function(self, function: types.FunctionType) -> None:
        self._code(function.__code__)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._held(default, "a default")
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                held = cell.cell_contents
            except ValueError:  # not bound yet: a function that refers to itself
                continue
            self._held(held, name)
        names = _names(function.__code__)
        for name in sorted(names):
            self._global(function.__globals__, name, function.__code__)
        missing = {name for name in names if name not in function.__globals__ and not hasattr(builtins, name)}
        for name in sorted(missing and missing & _loaded(function.__code__)):
            place = id(function.__globals__), name
            self.watched[place] = Global(function.__globals__, name, _ABSENT)  # a helper that is written later

    def _is_followed(self, module: str | None) -> bool:
        return is_users(module) or (module is not None and module.partition(".")[0] == self._home)

    def _code(self, code: types.CodeType) -> None:
        constants = [constant for constant in code.co_consts if not isinstance(constant, types.CodeType)]
        self.facts.append((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, constants))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant)
            else:
                self._note_text(constant)

    def _note_text(self, value: Any) -> None:
        if isinstance(value, str) and 0 < len(value) <= _LONGEST_PATH and "\n" not in value:
            self.texts.add(value)
        elif isinstance(value, (tuple, frozenset)):
            for item in value:
                self._note_text(item)

    def _class(self, kind: type) -> None:
        if id(kind) in self._seen:
            return
        self._seen.add(id(kind))
        self.facts.append(("class", kind.__module__, kind.__qualname__))
        if not self._is_followed(kind.__module__):
            return
        for base in (*kind.__bases__, type(kind)):
            self._class(base)
        members = kind.__members__ if issubclass(kind, enum.Enum) else {}
        for name, member in members.items():
            self._held(member._value_, name)
        for name, field in getattr(kind, "__pydantic_fields__", {}).items():
            self._held((str(field.annotation), field.default, *field.metadata), name)
            self._held(field.default_factory, name)
        names = [name for name in sorted(vars(kind)) if name not in members and not (members and name.startswith("_"))]
        watched = [name for name in names if self._is_watched(kind, name, vars(kind)[name])]
        self.watched[id(kind), ""] = Members(kind, watched)

    def _is_watched(self, kind: type, name: str, member: Any) -> bool:
        """Read a method, in whatever it is wrapped, a class, or a value that all objects of the class share; whether
        it is to be read anew only when the name means another object.
        """
        functions = [part for part in _functions_in(member) if self._is_followed(getattr(part, "__module__", None))]
        if functions or (isinstance(member, type) and not name.startswith("__")):
            self.facts.append(name)
            for part in functions or [member]:
                self.visit(part)
            return True
        if name.startswith("__") or hasattr(type(member), "__get__"):
            return False
        content = _content(member)
        is_constant = type(member) in _CONSTANTS or _is_frozen(member)
        if is_constant or type(content) is not bytes:
            self.facts.append((name, content))
        else:
            self.data[id(kind), name] = Global(_Namespace(kind), name, member)
        return is_constant

    def _held(self, value: Any, name: str) -> None:
        """A default or a closure's value: code is followed, content is read, anything else counts by its type."""
        if callable(value) and (unwrapped(value) is not None or isinstance(value, type)):
            if self._is_followed(getattr(value, "__module__", None)):
                self.visit(value)
            else:
                self.facts.append((name, getattr(value, "__module__", ""), getattr(value, "__qualname__", "")))
            return
        self.facts.append((name, _content(value)))

    def _global(self, namespace: dict[str, Any], name: str, code: types.CodeType) -> None:
        if name not in namespace:
            return
        value, place = namespace[name], (id(namespace), name)
        if place in self.watched or place in self.data:
            return
        if isinstance(value, types.ModuleType):
            if self._is_followed(value.__name__) and (id(value), id(code)) not in self._entered:
                self._entered.add((id(value), id(code)))
                for attribute in sorted(_names(code) & set(vars(value))):
                    self._global(vars(value), attribute, code)
            return
        if isinstance(value, type) or unwrapped(value) is not None:
            self.watched[place] = Global(namespace, name, value)
            self.facts.append(name)
            if self._is_followed(getattr(value, "__module__", None)):
                self.visit(value)
            return
        if isinstance(value, _CONSTANTS) or _is_frozen(value):
            self.watched[place] = Global(namespace, name, value)
            self.facts.append((name, of(value)))
            self._note_text(value)
        elif callable(value) and not self._is_called_for_its_content(value):
            self.watched[place] = Global(namespace, name, value)
            self.facts.append(
                (name, getattr(value, "__module__", ""), getattr(value, "__name__", type(value).__name__))
            )
        else:
            self.data[place] = Global(namespace, name, value)

    def _is_called_for_its_content(self, value: Any) -> bool:
        """Whether what a call of it gives depends on what it holds, as of a model; not so a library's function."""
        if self._is_followed(type(value).__module__):
            return True
        if hasattr(value, "__name__"):
            return False
        from mlguard_nb.errors import PolicyError

        try:
            of(value)
        except PolicyError:
            return False
        return True


def _is_frozen(value: Any) -> bool:
    return isinstance(value, (tuple, frozenset)) and all(
        isinstance(item, _CONSTANTS) or _is_frozen(item) for item in value
    )


def _functions_in(member: Any) -> list[Any]:
    """The functions of a method, property, cached property, partial method or validator."""
    parts = [member]
    if hasattr(type(member), "__get__"):
        parts += [getattr(member, part, None) for part in ("fget", "fset", "__func__", "func", "wrapped")]
    return [part for part in parts if callable(part) and not isinstance(part, type) and unwrapped(part) is not None]


def _names(code: types.CodeType) -> set[str]:
    """Every global or attribute name in the code and in the functions written inside it."""
    return {name for part in _parts(code) for name in part.co_names}


def _loaded(code: types.CodeType) -> set[str]:
    """Every name that the code, and the functions written inside it, look up as a global: no attribute."""
    steps = (step for part in _parts(code) for step in dis.get_instructions(part))
    return {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def _parts(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code, and that of the functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _parts(constant)
