"""How objects beyond Python's plain values are read for their fingerprint: arrays, frames, models, dates, functions."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import inspect
import pathlib
import re
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any

import xxhash

from mlguard_nb.runtime.fingerprint import file_mark, is_loaded, of_array

__all__ = ["feeder_for"]

Feeder = Callable[[Any, Any, str], None]  # (feed, value, name)


def feeder_for(value: Any) -> Feeder | None:
    """What writes `value` into a fingerprint; None where its content cannot be read."""
    if isinstance(value, type):  # also of a metaclass, such as those of polars
        return _class
    for library, feeder in _LIBRARIES.items():
        if is_loaded(value, library):
            return feeder(value)
    for kinds, feeder_of_kind in _KINDS:
        if isinstance(value, kinds):
            return feeder_of_kind
    if dataclasses.is_dataclass(value):
        return _dataclass
    if hasattr(type(value), "__pydantic_fields__"):
        return _attributes
    if hasattr(type(value), "__attrs_attrs__"):
        return _attrs
    return _function if inspect.isroutine(value) else None  # a compiled one, such as Cython's


# Python's own.


def _by_repr(to: Any, value: Any, name: str) -> None:
    to.tag(repr(value))


def _path(to: Any, value: pathlib.PurePath, name: str) -> None:
    to.tag(str(value))
    if to.watch_files and (mark := file_mark(value)) is not None:
        to.tag(f"file {mark}")


def _enum(to: Any, value: enum.Enum, name: str) -> None:
    to.tag(str(value.name))
    to.value(value._value_, f"{name}.value")


def _function(to: Any, value: Any, name: str) -> None:
    from mlguard_nb.runtime.reach import is_users, reach_of

    module = getattr(value, "__module__", None)
    if is_users(module):
        to.update(reach_of(value).digest)
    else:
        _by_name(to, value, name)
        to.tag(_release(str(module)))
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        to.value(owner, f"{name}.__self__")


def _partial(to: Any, value: functools.partial[Any], name: str) -> None:
    to.value(value.func, f"{name}.func")
    to.value(value.args, f"{name}.args")
    to.value(value.keywords, f"{name}.keywords")


def _by_name(to: Any, value: Any, name: str) -> None:
    to.tag(getattr(value, "__qualname__", None) or value.__name__)
    to.tag(str(getattr(value, "__module__", "")))


def _class(to: Any, value: type, name: str) -> None:
    from mlguard_nb.runtime.reach import is_users, reach_of

    _by_name(to, value, name)
    if is_users(value.__module__):
        to.update(reach_of(value).digest)
    else:
        to.tag(_release(value.__module__))


@functools.cache
def _release(module: str) -> str:
    """What tells one release of a library's module from another: the library's version, and the module's own source.
    What else the module reaches is not followed: from a frame's class that would be all of pandas.
    """
    version = getattr(sys.modules.get(module.partition(".")[0]), "__version__", "")
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    try:
        source = pathlib.Path(file).read_bytes() if file.endswith(".py") else b""
    except OSError:  # in a zip, or gone since
        source = b""
    return f"{version} {xxhash.xxh3_128_hexdigest(source)}"


def _dataclass(to: Any, value: Any, name: str) -> None:
    for field in dataclasses.fields(value):
        to.tag(field.name)
        to.value(getattr(value, field.name), f"{name}.{field.name}")


def _attrs(to: Any, value: Any, name: str) -> None:
    for field in type(value).__attrs_attrs__:
        to.tag(field.name)
        to.value(getattr(value, field.name), f"{name}.{field.name}")


def _attributes(to: Any, value: Any, name: str) -> None:
    for key, item in sorted(vars(value).items()):
        to.tag(key)
        to.value(item, f"{name}.{key}")


def _ordered(to: Any, value: collections.deque[Any], name: str) -> None:
    to.several(f"at most {value.maxlen}", value, name)


def _mapping(to: Any, value: Any, name: str) -> None:
    to.value(dict(value), name)


def _pattern(to: Any, value: re.Pattern[Any], name: str) -> None:
    to.several("pattern", (value.pattern, value.flags), name)


def _numbers(to: Any, value: array.array[Any], name: str) -> None:
    _memory(to, memoryview(value), name)


def _slice(to: Any, value: slice, name: str) -> None:
    to.several("slice", (value.start, value.stop, value.step), name)


def _memory(to: Any, value: memoryview, name: str) -> None:
    to.tag(f"{value.format} {value.shape}")
    to.update(value if value.c_contiguous else value.tobytes())


def _subclass(base: type) -> Feeder:
    """A subclass of a plain type: its plain content, and its attributes where it has any."""

    def feed(to: Any, value: Any, name: str) -> None:
        if base in (list, tuple):
            to.several("items", value, name)
        elif base is dict:
            to.value(dict(value), name)
        elif base in (set, frozenset):
            to.value(frozenset(value), name)
        elif base is str:
            to.value(str.__str__(value), name)
        elif base is float:
            to.value(float.__float__(value), name)
        elif base is int:
            to.value(int.__int__(value), name)
        else:
            to.value(bytes(value), name)
        if isinstance(value, collections.defaultdict):
            to.value(value.default_factory, f"{name}.default_factory")
        if getattr(value, "__dict__", None):
            _attributes(to, value, name)

    return feed


_FUNCTIONS = (types.FunctionType, types.MethodType, types.LambdaType)
_NAMED = (types.BuiltinFunctionType, types.ModuleType, types.MethodDescriptorType, types.WrapperDescriptorType)
_DATES = (dt.date, dt.time, dt.timedelta, dt.tzinfo, decimal.Decimal, fractions.Fraction)
_KINDS: tuple[tuple[Any, Feeder], ...] = (
    (enum.Enum, _enum),
    ((*_DATES, uuid.UUID), _by_repr),
    (pathlib.PurePath, _path),
    (_FUNCTIONS, _function),
    (_NAMED, _by_name),
    (type, _class),
    (functools.partial, _partial),
    (slice, _slice),
    (memoryview, _memory),
    (collections.deque, _ordered),
    (types.MappingProxyType, _mapping),
    ((types.SimpleNamespace, argparse.Namespace), _attributes),
    (re.Pattern, _pattern),
    (array.array, _numbers),
    *((base, _subclass(base)) for base in (list, tuple, dict, set, frozenset, str, float, int, bytes, bytearray)),
)


# Libraries, asked only where the program has loaded them.


def _numpy(value: Any) -> Feeder | None:
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        return lambda to, v, name: to.several("masked", (v.data, np.ma.getmaskarray(v), v.fill_value), name)
    if isinstance(value, np.ndarray):
        return _array
    if isinstance(value, np.generic):
        return lambda to, v, name: _array(to, np.asarray(v), name)
    if isinstance(value, np.dtype):
        return lambda to, v, name: to.tag(repr(v.descr))
    if isinstance(value, np.ufunc) or inspect.isroutine(value) or isinstance(value, type):
        return _by_name
    return None


def _array(to: Any, value: Any, name: str) -> None:
    found = of_array(value)
    if found is None:
        to.tag(f"{value.dtype.str} {value.shape}")
        _objects(to, value.ravel().tolist(), name)
        return
    kind, shape, digest = found
    to.tag(f"{kind} {shape}")
    to.update(digest)


def _objects(to: Any, values: list[Any], name: str) -> None:
    """A column of Python objects; text, the common case, in one piece with its lengths."""
    if values and all(type(item) is str for item in values):
        import numpy as np

        to.tag(f"texts {len(values)}")
        to.update(np.fromiter(map(len, values), dtype="int64", count=len(values)))
        to.update("".join(values).encode("utf-8", "surrogatepass"))
    else:
        to.several("objects", values, name)


def _pandas(value: Any) -> Feeder | None:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return _frame
    if isinstance(value, pd.Series):
        return _series
    if isinstance(value, pd.Index):
        return _index
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return lambda to, v, name: _column(to, v, name)
    if value is pd.NA or value is pd.NaT:
        return lambda to, v, name: to.tag(type(v).__name__)
    if isinstance(
        value, (pd.Timestamp, pd.Timedelta, pd.Period, pd.Interval, pd.DateOffset, pd.api.extensions.ExtensionDtype)
    ):
        return _by_repr
    return _by_name if inspect.isroutine(value) or isinstance(value, type) else None


def _frame(to: Any, value: Any, name: str) -> None:
    to.tag(f"frame {value.shape}")
    _index(to, value.columns, f"{name}.columns")
    _index(to, value.index, f"{name}.index")
    for position in range(value.shape[1]):
        _column(to, value.iloc[:, position].array, f"{name}[{value.columns[position]!r}]")


def _series(to: Any, value: Any, name: str) -> None:
    to.value(value.name, f"{name}.name")
    _index(to, value.index, f"{name}.index")
    _column(to, value.array, name)


def _index(to: Any, value: Any, name: str) -> None:
    import pandas as pd

    to.several("names", list(value.names), f"{name}.names")
    if isinstance(value, pd.RangeIndex):
        to.tag(f"range {value.start} {value.stop} {value.step}")
    elif isinstance(value, pd.MultiIndex):
        for level in range(value.nlevels):
            _column(to, value.get_level_values(level).array, name)
    else:
        _column(to, value.array, name)


def _column(to: Any, values: Any, name: str) -> None:
    import numpy as np
    import pandas as pd

    to.tag(f"{values.dtype!r} {len(values)}")
    if isinstance(values, pd.Categorical):
        to.tag(f"ordered {values.ordered}")
        _array(to, np.asarray(values.codes), name)
        _column(to, values.categories.array, f"the categories of {name}")
    elif hasattr(values, "asi8"):  # datetimes, timedeltas, periods
        _array(to, values.asi8, name)
    else:
        plain = values.to_numpy()
        if plain.dtype.hasobject:
            _objects(to, plain.tolist(), name)
        else:
            _array(to, plain, name)


def _polars(value: Any) -> Feeder | None:
    import polars as pl

    def series(to: Any, column: Any, name: str) -> None:
        to.tag(f"{column.name} {column.dtype} {len(column)}")
        if column.dtype.is_numeric() and not column.null_count():
            _array(to, column.to_numpy(), name)
        else:
            _objects(to, column.to_list(), name)

    def frame(to: Any, table: Any, name: str) -> None:
        to.tag(f"frame {table.shape}")
        for column in table.get_columns():
            series(to, column, f"{name}[{column.name!r}]")

    if isinstance(value, pl.DataFrame):
        return frame
    return series if isinstance(value, pl.Series) else None


def _torch(value: Any) -> Feeder | None:
    import torch

    def tensor(to: Any, one: Any, name: str) -> None:
        to.tag(f"{one.dtype} {tuple(one.shape)} {one.device.type} {one.requires_grad}")
        held = one.detach().cpu().contiguous()
        _array(to, held.reshape(-1).view(torch.uint8).numpy() if held.numel() else held.float().numpy(), name)

    if isinstance(value, torch.nn.Module):
        return lambda to, one, name: (to.tag(repr(one)), to.value(dict(one.state_dict()), name))[0]
    if isinstance(value, (torch.dtype, torch.device)):
        return _by_repr
    return tensor if isinstance(value, torch.Tensor) else None


def _through_numpy(value: Any) -> Feeder | None:
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return None
    import numpy as np

    return lambda to, one, name: _array(to, one.get() if hasattr(one, "get") else np.asarray(one), name)


def _scipy(value: Any) -> Feeder | None:
    if not hasattr(value, "tocsr"):
        return None

    def sparse(to: Any, one: Any, name: str) -> None:
        rows = one.tocsr()
        to.tag(f"{one.format} {rows.shape}")
        to.several("csr", (rows.data, rows.indices, rows.indptr), name)

    return sparse


def _by_state(value: Any) -> Feeder | None:
    """Estimators: their class, and the state that they would pickle."""
    if isinstance(value, type):
        return _by_name

    def state(to: Any, one: Any, name: str) -> None:
        reduced = one.__reduce_ex__(4)
        if isinstance(reduced, str):
            to.tag(reduced)
            return
        made_by, arguments, held = (*reduced, None)[:3]
        _by_name(to, made_by, name)
        to.value(arguments, f"the arguments of {name}")
        to.value(held, f"the state of {name}")

    return state


_LIBRARIES: dict[str, Callable[[Any], Feeder | None]] = {
    "numpy": _numpy,
    "pandas": _pandas,
    "polars": _polars,
    "torch": _torch,
    "jax": _through_numpy,
    "jaxlib": _through_numpy,
    "cupy": _through_numpy,
    "scipy": _scipy,
    "sklearn": _by_state,
}
