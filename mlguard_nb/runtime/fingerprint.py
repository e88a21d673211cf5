"""Content fingerprints: equal bytes for equal content, never an object's repr or id.

1, True and 1.0 differ, and so do 0.0 and -0.0. Arrays count by dtype, shape and their buffer, which is hashed where it
lies, without a copy. An object whose content cannot be read is an error that names it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import PolicyError

if TYPE_CHECKING:
    from types import FunctionType

__all__ = ["code_of", "file_mark", "of", "of_array"]

Update = Callable[[Any], object]
Feeder = Callable[[Any, Any], None]


def of(
    value: Any, *, name: str = "value", watch_files: bool = False, number: Callable[[Any], int] | None = None
) -> bytes:
    """16 bytes that are equal exactly where the content is. An object of a user's class counts by its attributes and
    with that class's code.

    PolicyError names the part of `value` (which is called `name` in the message) that has no content to read. With
    `watch_files` every str or Path that names an existing file counts with that file's size and time of change. Where
    `number` tells objects of this process apart, nothing is refused: what has no content counts by its number, and an
    object of a user's class by its attributes.
    """
    import xxhash

    hasher = xxhash.xxh3_128()
    _Feed(hasher.update, watch_files, number).value(value, name)
    return hasher.digest()


def code_of(function: Any) -> bytes:
    """16 bytes for a function's code and for the user's functions, classes and constants it reaches, recursively.

    Libraries count by name only. Comments, line numbers and the file's name do not count.
    """
    from mlguard_nb.runtime.reach import reach_of

    return reach_of(function).digest


def file_mark(path: Any) -> tuple[int, int] | None:
    """(size in bytes, time of change in nanoseconds) of the file that `path` names; None where there is none."""
    import os

    if isinstance(path, str) and (not path or len(path) > 1024 or "\n" in path or "\0" in path):
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def of_array(array: Any) -> tuple[str, tuple[int, ...], bytes] | None:
    """(dtype, shape, digest of the buffer) of a NumPy array, read in place; None where it holds Python objects."""
    import xxhash

    dtype = array.dtype
    if dtype.hasobject:
        return None
    kind = dtype.str if dtype.names is None else repr(dtype.descr)
    if dtype.kind in "mM":  # times have no buffer of their own
        array = array.view("i8")
    if array.flags.c_contiguous:
        return kind, array.shape, xxhash.xxh3_128_digest(array)
    if array.flags.f_contiguous:
        return kind + "F", array.shape, xxhash.xxh3_128_digest(array.T)
    return kind, array.shape, xxhash.xxh3_128_digest(array.copy(order="C"))


class _Feed:
    """Writes values into a hasher, each with its type and length first, so that no two contents run into each other."""

    def __init__(self, update: Update, watch_files: bool, number: Callable[[Any], int] | None = None) -> None:
        self.update, self.watch_files, self.number = update, watch_files, number
        self._inside: list[int] = []

    def tag(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        self.update(struct.pack("<I", len(raw)) + raw)

    def value(self, value: Any, name: str) -> None:
        """Write one value of any type."""
        feeder = _BY_TYPE.get(type(value))
        if feeder is not None:
            feeder(self, value)
            return
        if id(value) in self._inside:
            if self.number is not None:
                self.tag(f"inside {self._inside.index(id(value))}")
                return
            raise PolicyError(f"cache: {name} contains itself, so its content has no end. Next: {_NEXT}")
        self._inside.append(id(value))
        try:
            self._compound(value, name)
        finally:
            self._inside.pop()

    def text(self, value: str) -> None:
        """A str; with its file's mark where files are watched."""
        self.tag("str")
        self.tag(value)
        if self.watch_files and (mark := file_mark(value)) is not None:
            self.tag(f"file {mark}")

    def several(self, kind: str, items: Any, name: str) -> None:
        """A sequence with its length."""
        items = list(items)
        self.tag(f"{kind} {len(items)}")
        for index, item in enumerate(items):
            self.value(item, f"{name}[{index}]")

    def _compound(self, value: Any, name: str) -> None:
        kind = type(value)
        if kind in (list, tuple):
            self.several(kind.__name__, value, name)
        elif kind is dict:
            self.tag(f"dict {len(value)}")
            for key, item in value.items():
                self.value(key, f"a key of {name}")
                self.value(item, f"{name}[{key!r}]")
        elif kind in (set, frozenset):
            self.tag(f"{kind.__name__} {len(value)}")
            for part in sorted(of(item, name=f"an element of {name}") for item in value):
                self.update(part)
        else:
            from mlguard_nb.runtime.fingerprint_objects import feeder_for
            from mlguard_nb.runtime.reach import code_of_class

            feeder = feeder_for(value)
            if feeder is None:
                self._without_content(value, name)
                return
            self.tag(f"{kind.__module__}.{kind.__qualname__}")
            self.update(code_of_class(kind))
            feeder(self, value, name)

    def _without_content(self, value: Any, name: str) -> None:
        """An object of a class that is written in Python: its class, the class's code and its attributes.

        PolicyError where part of the object lies elsewhere, in C, unless objects are told apart by number.
        """
        from mlguard_nb.runtime.reach import code_of_class, is_users

        kind = type(value)
        if self.number is not None:
            self.tag(f"object {self.number(value)}")
        elif kind is not object and all(is_users(base.__module__) for base in kind.__mro__[:-1]):
            self.tag(f"object of {kind.__module__}.{kind.__qualname__}")
        else:
            shown = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
            raise PolicyError(
                f"cache: {name} is of type {shown}, which has no content to recognise it by "
                f"(its id would change from run to run). Next: {_NEXT}"
            )
        if code := code_of_class(kind):
            self.update(code)
            for attribute, item in _attributes_of(value):
                self.tag(attribute)
                self.value(item, f"{name}.{attribute}")


def _attributes_of(value: Any) -> list[tuple[str, Any]]:
    """What an object holds, in its dictionary and in the slots of its classes, by name."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = (
                f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            )
            if name not in ("__dict__", "__weakref__") and hasattr(value, private):
                found[private] = getattr(value, private)
    return sorted(found.items())


_NEXT = "name the arguments that count with key=, or leave it out with ignore="


def _plain(kind: str) -> Callable[[_Feed, Any], None]:
    def feed(to: _Feed, value: Any) -> None:
        to.tag(kind)
        to.tag(repr(value))

    return feed


def _float(to: _Feed, value: float) -> None:
    to.tag("float")
    to.update(struct.pack("<d", value))


def _complex(to: _Feed, value: complex) -> None:
    to.tag("complex")
    to.update(struct.pack("<dd", value.real, value.imag))


def _bytes(to: _Feed, value: bytes | bytearray) -> None:
    to.tag(f"{type(value).__name__} {len(value)}")
    to.update(value)


def _int(to: _Feed, value: int) -> None:
    to.tag("int")
    to.tag(hex(value))  # repr of a very long int is refused by Python 3.11


_BY_TYPE: dict[type, Callable[[_Feed, Any], None]] = {
    type(None): _plain("None"),
    bool: _plain("bool"),
    int: _int,
    float: _float,
    complex: _complex,
    str: _Feed.text,
    bytes: _bytes,
    bytearray: _bytes,
    range: _plain("range"),
    type(Ellipsis): _plain("Ellipsis"),
    type(NotImplemented): _plain("NotImplemented"),
}


def is_loaded(value: Any, package: str) -> bool:
    """Whether `value` is of a class that `package` defines, and the package is loaded."""
    return package in sys.modules and type(value).__module__.partition(".")[0] == package


def unwrapped(function: Any) -> FunctionType | None:
    """The plain Python function below wrappers and bound methods; None where there is none."""
    import inspect

    function = getattr(function, "__func__", function)
    function = inspect.unwrap(function) if callable(function) else function
    function = getattr(function, "__func__", function)
    return function if inspect.isfunction(function) else None
