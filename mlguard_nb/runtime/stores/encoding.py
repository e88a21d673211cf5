"""Results as bytes: a JSON header and raw buffers. Nothing is executed when they are read back.

Plain values, containers, arrays and pandas frames are written as themselves. Any other object needs pickle, which is
used only with a secret key: everything that decides what is unpickled is signed with it (keyed BLAKE2b), and refused
when the signature does not fit. A checksum over all of it tells a result that a disk has spoilt.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from mlguard_nb.runtime.stores.entry import Entry, NotStorable

__all__ = ["decode", "encode"]

_MAGIC = b"MLGUARD1"
_HEAD = struct.Struct("<8sQ16s32s")  # magic, length of the header, checksum, signature


def encode(entry: Entry, key: bytes | None = None) -> list[Any]:
    """`entry` as a list of buffers to be written one after another; NotStorable where only pickle would do and
    there is no `key`.
    """
    writer = _Writer(key)
    try:
        tree = writer.node(entry.value)
        header = json.dumps(
            {
                "stored": entry.stored,
                "fresh": _time_out(entry.fresh_until),
                "kept": _time_out(entry.kept_until),
                "buffers": [memoryview(buffer).nbytes for buffer in writer.buffers],
                "pickled": writer.pickled,
                "value": tree,
            },
            separators=(",", ":"),
        ).encode()
    except RecursionError:
        raise NotStorable("a value that contains itself, or is nested very deep, cannot be stored") from None
    signature = _sign(key, header, writer.buffers, writer.pickled) if writer.pickled else bytes(32)
    return [_HEAD.pack(_MAGIC, len(header), _checksum(header, writer.buffers), signature), header, *writer.buffers]


def decode(raw: Any, key: bytes | None = None) -> Entry | None:
    """The entry in `raw`; None where it is torn, foreign, or signed by somebody else."""
    view = memoryview(raw)
    if len(view) < _HEAD.size:
        return None
    magic, length, checksum, signature = _HEAD.unpack(view[: _HEAD.size])
    if magic != _MAGIC or len(view) < _HEAD.size + length:
        return None
    try:
        if checksum != _checksum(view[_HEAD.size :], []):
            return None
        return _opened(view, length, signature, key)
    except (
        LookupError,
        ArithmeticError,
        TypeError,
        ValueError,
        AttributeError,
        ImportError,
        RecursionError,
        NotStorable,
    ):
        return None  # written by another version, or by somebody who meant harm


def _opened(view: memoryview, length: int, signature: bytes, key: bytes | None) -> Entry | None:
    start = _HEAD.size + length
    header = bytes(view[_HEAD.size : start])
    facts = json.loads(header)
    if len(view) != start + sum(facts["buffers"]):
        return None
    buffers = []
    for size in facts["buffers"]:
        buffers.append(view[start : start + size])
        start += size
    if facts["pickled"]:
        wanted = _sign(key, header, buffers, facts["pickled"]) if key else b""
        if not hmac.compare_digest(wanted, signature):
            return None
    value = _Reader(buffers, bool(facts["pickled"])).value(facts["value"])
    return Entry(value, float(facts["stored"]), _time_in(facts["fresh"]), _time_in(facts["kept"]))


def _checksum(header: Any, buffers: list[Any]) -> bytes:
    import xxhash

    hasher = xxhash.xxh3_128(header)
    for buffer in buffers:
        hasher.update(buffer)
    return hasher.digest()


def _sign(key: bytes | None, header: bytes, buffers: list[Any], pickled: list[int]) -> bytes:
    assert key is not None
    digest = hashlib.blake2b(header, key=hashlib.blake2b(key, digest_size=64).digest(), digest_size=32)
    for index in pickled:
        digest.update(buffers[index])
    return digest.digest()


def _time_out(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds


def _time_in(seconds: float | None) -> float:
    return math.inf if seconds is None else float(seconds)


class _Writer:
    """Turns a value into a JSON tree whose leaves point at raw buffers."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self.buffers: list[Any] = []
        self.pickled: list[int] = []

    def _buffer(self, raw: Any) -> int:
        self.buffers.append(raw)
        return len(self.buffers) - 1

    def node(self, value: Any) -> Any:
        """One value. JSON's own values stand for themselves, all others are [type, ...]."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return value if _is_text(value) else ["str", value.encode("utf-8", "surrogatepass").hex()]
        if kind is int:
            return value if abs(value) < 2**53 else ["int", hex(value)]
        if kind is float:
            return ["float", value.hex()]
        if kind is complex:
            return ["complex", value.real.hex(), value.imag.hex()]
        if kind in (bytes, bytearray):
            return [kind.__name__, self._buffer(value)]
        if kind in (list, tuple, set, frozenset):
            return [kind.__name__, [self.node(item) for item in value]]
        if kind is dict:
            return ["dict", [[self.node(name), self.node(item)] for name, item in value.items()]]
        if kind in (dt.datetime, dt.date, dt.time) and getattr(value, "tzinfo", None) in (None, dt.timezone.utc):
            return [kind.__name__, value.isoformat()]
        return self._library(value)

    def _library(self, value: Any) -> Any:
        library = type(value).__module__.partition(".")[0]
        if library == "numpy" and "numpy" in sys.modules:
            node = self._numpy(value)
        elif library == "pandas" and "pandas" in sys.modules:
            node = self._pandas(value)
        elif isinstance(value, PurePath):
            node = ["path", str(value)]
        else:
            node = None
        return self._pickle(value) if node is None else node

    def _numpy(self, value: Any) -> Any:
        import numpy as np

        if isinstance(value, np.generic):
            array = np.asarray(value)
            return None if array.dtype.hasobject else ["scalar", self._array(array)]
        if type(value) is np.ndarray and not value.dtype.hasobject and value.dtype.names is None:
            return ["array", self._array(value)]
        if type(value) is np.ndarray and value.dtype == object:
            return ["objects", list(value.shape), [self.node(item) for item in value.ravel().tolist()]]
        return None

    def _array(self, array: Any) -> Any:
        import numpy as np

        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        held = np.ascontiguousarray(array.T if fortran else array)
        flat: Any = held.reshape(-1).view("u1")
        raw = memoryview(flat) if held.size else b""
        return [array.dtype.str, list(array.shape), fortran, self._buffer(raw)]

    def _pandas(self, value: Any) -> Any:
        import pandas as pd

        if type(value) is pd.DataFrame and not value.attrs:
            columns = [self._column(value.iloc[:, place]) for place in range(value.shape[1])]
            labels, index = self._index(value.columns), self._index(value.index)
            if None not in (labels, index) and all(column is not None for column in columns):
                return ["frame", labels, index, columns]
        if type(value) is pd.Series and not value.attrs:
            column, index = self._column(value), self._index(value.index)
            if column is not None and index is not None:
                return ["series", self.node(value.name), index, column]
        return None

    def _index(self, index: Any) -> Any:
        import pandas as pd

        if type(index) is pd.RangeIndex:
            return ["range", index.start, index.stop, index.step, self.node(index.name)]
        if type(index) is pd.Index or type(index) is pd.DatetimeIndex:
            column = self._column(index.to_series())
            freq = getattr(index, "freqstr", None)
            return None if column is None else ["index", column, self.node(index.name), freq]
        return None

    def _column(self, series: Any) -> Any:
        dtype = series.dtype
        kind = getattr(dtype, "kind", "")
        text = str(dtype)
        if kind in "biufcmM" and dtype.__class__.__module__.startswith("numpy"):
            return [text, self.node(series.to_numpy())]
        if text.startswith("datetime64["):
            return [text, self.node(series.array.asi8)]
        if text == "category":
            categories = series.cat.categories
            held = self._index(categories)
            return (
                None if held is None else [text, self.node(series.cat.codes.to_numpy()), held, bool(series.cat.ordered)]
            )
        values = series.to_numpy(dtype=object).tolist()
        if text in ("object", "str", "string") and all(type(item) in (str, bool, type(None), float) for item in values):
            return [text, [self.node(item) for item in values]]
        return None

    def _pickle(self, value: Any) -> Any:
        if self._key is None:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise NotStorable(
                f"an object of type {kind} can only be stored with pickle, which needs a secret key; "
                "return arrays, frames or plain values, or set MLGUARD_CACHE_KEY"
            )
        import pickle

        try:
            raw = pickle.dumps(value, protocol=5)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise NotStorable(f"{type(value).__qualname__} cannot be stored: {error}") from error
        place = self._buffer(raw)
        self.pickled.append(place)
        return ["pickle", place]


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


# fmt: off
_NODES = frozenset({
    "array", "bytearray", "bytes", "complex", "date", "datetime", "dict", "float", "frame", "frozenset", "int", "list",
    "objects", "path", "pickle", "scalar", "series", "set", "str", "time", "tuple",
})
# fmt: on


class _Reader:
    """Turns a tree back into its value. `may_unpickle` is true only after the signature was checked."""

    def __init__(self, buffers: list[memoryview], may_unpickle: bool) -> None:
        self._buffers, self._may_unpickle = buffers, may_unpickle

    def value(self, node: Any) -> Any:
        """One value."""
        if not isinstance(node, list):
            return node
        if node[0] not in _NODES:
            raise ValueError(f"no value of type {node[0]!r} is known")
        return getattr(self, f"_{node[0]}")(*node[1:])

    def _values(self, nodes: list[Any]) -> Iterator[Any]:
        return map(self.value, nodes)

    def _str(self, raw: str) -> str:
        return bytes.fromhex(raw).decode("utf-8", "surrogatepass")

    def _int(self, text: str) -> int:
        return int(text, 16)

    def _float(self, text: str) -> float:
        return float.fromhex(text)

    def _complex(self, real: str, imaginary: str) -> complex:
        return complex(float.fromhex(real), float.fromhex(imaginary))

    def _bytes(self, place: int) -> bytes:
        return bytes(self._buffers[place])

    def _bytearray(self, place: int) -> bytearray:
        return bytearray(self._buffers[place])

    def _list(self, nodes: list[Any]) -> list[Any]:
        return list(self._values(nodes))

    def _tuple(self, nodes: list[Any]) -> tuple[Any, ...]:
        return tuple(self._values(nodes))

    def _set(self, nodes: list[Any]) -> set[Any]:
        return set(self._values(nodes))

    def _frozenset(self, nodes: list[Any]) -> frozenset[Any]:
        return frozenset(self._values(nodes))

    def _dict(self, pairs: list[list[Any]]) -> dict[Any, Any]:
        return {self.value(name): self.value(item) for name, item in pairs}

    def _datetime(self, text: str) -> dt.datetime:
        return dt.datetime.fromisoformat(text)

    def _date(self, text: str) -> dt.date:
        return dt.date.fromisoformat(text)

    def _time(self, text: str) -> dt.time:
        return dt.time.fromisoformat(text)

    def _path(self, text: str) -> Any:
        from pathlib import Path

        return Path(text)

    def _array(self, facts: list[Any]) -> Any:
        import numpy as np

        dtype, shape, fortran, place = facts
        flat = np.frombuffer(bytearray(self._buffers[place]), dtype=dtype)
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)

    def _scalar(self, facts: list[Any]) -> Any:
        return self._array(facts)[()]

    def _objects(self, shape: list[int], nodes: list[Any]) -> Any:
        import numpy as np

        flat = np.empty(len(nodes), dtype=object)
        for place, node in enumerate(nodes):
            flat[place] = self.value(node)
        return flat.reshape(shape)

    def _frame(self, labels: Any, index: Any, columns: list[Any]) -> Any:
        import pandas as pd

        rows = self._labels(index)
        frame = pd.DataFrame({place: self._column(column, rows) for place, column in enumerate(columns)}, index=rows)
        frame.columns = self._labels(labels)
        return frame

    def _series(self, name: Any, index: Any, column: Any) -> Any:
        series = self._column(column, self._labels(index))
        series.name = self.value(name)
        return series

    def _labels(self, node: list[Any]) -> Any:
        import pandas as pd

        if node[0] == "range":
            return pd.RangeIndex(node[1], node[2], node[3], name=self.value(node[4]))
        _kind, column, name, freq = node
        held = self._column(column, None)
        index = pd.Index(held.array, dtype=held.dtype, name=self.value(name))
        return index if freq is None else pd.DatetimeIndex(index, freq=freq)

    def _column(self, facts: list[Any], rows: Any) -> Any:
        import pandas as pd

        text = facts[0]
        if text == "category":
            held = pd.Categorical.from_codes(self.value(facts[1]), self._labels(facts[2]), ordered=facts[3])
            return pd.Series(held, index=rows)
        if text.startswith("datetime64[") and "," in text:
            whole = pd.Series(self.value(facts[1]).view(f"M8[{text[11:].partition(',')[0]}]"), index=rows)
            return whole.dt.tz_localize("UTC").astype(text)
        if isinstance(facts[1], list) and facts[1] and facts[1][0] == "array":
            values = self.value(facts[1])
            return pd.Series(values.view(text) if values.dtype.kind == "i" and text[:1] in "dt" else values, index=rows)
        return pd.Series([self.value(item) for item in facts[1]], index=rows, dtype=text)

    def _pickle(self, place: int) -> Any:
        if not self._may_unpickle:
            raise NotStorable("an unsigned pickle was refused")
        import pickle

        try:
            return pickle.loads(self._buffers[place])  # signed with the user's own key, checked above
        except Exception as error:  # whatever a class of the user's raises that is another one by now
            raise NotStorable(f"what was pickled cannot be read: {error}") from error


def short(key: bytes) -> str:
    """A key as a name for files and servers."""
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()
