"""A value as plain data: what two processes can compare, and a summary can be made of, without sharing its class.

A portable value is a dict with "type" and either "value" (a scalar), "array", "items", "pairs", "fields" or "kind"
("module", "function", "class", "figure", "opaque"). Arrays keep their bytes; nothing in it refers to the original.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Portable", "portable", "type_name"]

Portable = dict[str, Any]

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType)
_DRAWN = ("matplotlib", "seaborn", "plotly", "bokeh", "altair", "IPython", "ipywidgets")
_DEEPEST = 40
_MOST_NODES = 400_000
_BUFFERED = "biufcmMSU"


def type_name(kind: type, own: Iterable[str] = ("__main__",)) -> str:
    """The shortest public spelling of a type: "pandas.DataFrame", "int"; without a module for those of `own`."""
    module, name = kind.__module__, kind.__qualname__
    if module == "builtins":
        return name
    if any(module == mine or module.startswith(f"{mine}.") for mine in own):
        return kind.__name__
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count])
        if getattr(sys.modules.get(prefix), name, None) is kind:
            return f"{prefix}.{name}"
    return f"{module}.{name}"


def portable(value: Any, own: Iterable[str] = ("__main__",)) -> Portable:
    """`value` as plain data. `own` names the modules whose classes count as the notebook's own.

    Objects of unknown classes go by their state as pickling would see it; what has none is {"kind": "opaque"}.
    Running user code is limited to `get_params`, `__reduce_ex__` and the like; what they raise makes the value opaque.
    """
    return _Capture(tuple(own)).value(value, 0)


class _Capture:
    """One conversion: remembers what it is inside of, so that cycles end, and how much it has written."""

    def __init__(self, own: tuple[str, ...]) -> None:
        self.own = own
        self.nodes = 0
        self.open: dict[int, int] = {}

    def value(self, value: Any, depth: int) -> Portable:
        self.nodes += 1
        if type(value).__module__ == "IPython.utils.text":  # what `files = !ls` gives: a list or text with extras
            value = list(value) if isinstance(value, list) else str(value)
        kind = type(value)
        name = type_name(kind, self.own)
        if kind in _SCALARS:
            return {"type": name, "value": value}
        if id(value) in self.open:
            return {"type": name, "kind": "cycle", "up": depth - self.open[id(value)]}
        if depth > _DEEPEST or self.nodes > _MOST_NODES:
            return {"type": name, "kind": "opaque", "why": "too large"}
        simple = _by_kind(value, name, self.own)
        if simple is not None:
            return self.picture(value, simple, depth) if simple["kind"] == "figure" else simple
        self.open[id(value)] = depth
        try:
            return {"type": name, **self.content(value, kind, depth + 1)}
        except Exception as error:  # third-party state hooks raise anything; the value then goes by its type
            return {"type": name, "kind": "opaque", "why": type(error).__name__}
        finally:
            del self.open[id(value)]

    def content(self, value: Any, kind: type, depth: int) -> Portable:
        library = kind.__module__.partition(".")[0]
        special = _LIBRARIES.get(library)
        if special is not None:
            found = special(self, value, depth)
            if found is not None:
                return found
        if isinstance(value, Mapping) and hasattr(value, "items"):
            pairs = [one for one in value.items() if one[0] != "__builtins__"]  # a namespace that code was run in
            return {"pairs": [(self.value(key, depth), self.value(item, depth)) for key, item in pairs]}
        if isinstance(value, (set, frozenset)):
            return {"items": self.items(sorted(value, key=repr), depth), "unordered": True}
        if isinstance(value, (list, tuple)):
            return {"items": self.items(value, depth)}
        if hasattr(value, "get_params") and hasattr(value, "set_params"):
            return self.estimator(value, depth)
        return self.state(value, depth)

    def items(self, values: Iterable[Any], depth: int) -> list[Any]:
        """Plain scalars as they are, everything else as portable values."""
        return [item if type(item) in _SCALARS else self.value(item, depth) for item in values]

    def estimator(self, value: Any, depth: int) -> Portable:
        """Parameters that differ from their defaults, and fitted attributes (those that end in an underscore)."""
        import inspect

        defaults = {p.name: p.default for p in inspect.signature(type(value).__init__).parameters.values()}
        params = {
            name: self.value(given, depth)
            for name, given in sorted(value.get_params(deep=False).items())
            if not _same_plain(given, defaults.get(name, inspect.Parameter.empty))
        }
        fitted = {
            name: self.value(found, depth)
            for name, found in sorted(vars(value).items())
            if name.endswith("_") and not name.startswith("_")
        }
        return {"params": params, "fields": fitted, "estimator": True}

    def picture(self, value: Any, otherwise: Portable, depth: int) -> Portable:
        """What a figure shows, where that can be told; `otherwise` it goes by its kind."""
        from mlguard_nb.pipeline.drawn import drawn

        try:
            content = drawn(value)
        except Exception:  # an artist of a third party that has no data to give: the figure goes by its kind
            return otherwise
        if content is None:
            return otherwise
        fields = {part: self.value(found, depth + 1) for part, found in content.items()}
        return {"type": otherwise["type"], "fields": fields, "drawn": True}

    def state(self, value: Any, depth: int) -> Portable:
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return {"kind": "global", "name": reduced}
        fields: dict[str, Portable] = {}
        arguments = tuple(reduced[1] or ())
        if arguments and arguments[0] is type(value):
            arguments = arguments[1:]
        for position, argument in enumerate(arguments):
            fields[f"argument {position}"] = self.value(argument, depth)
        state = reduced[2] if len(reduced) > 2 else None
        if isinstance(state, dict):
            kept = [(str(name), item) for name, item in state.items() if not _is_cached(type(value), str(name))]
            fields.update((name, self.value(item, depth)) for name, item in kept)
        elif state is not None:
            fields["state"] = self.value(state, depth)
        for position, name in ((3, "items"), (4, "pairs")):
            if len(reduced) > position and reduced[position] is not None:
                fields[name] = self.value(list(reduced[position]), depth)
        return {"fields": fields}

    def array(self, value: Any, depth: int) -> Portable:
        """A NumPy array: its bytes, or its items where those are objects."""
        import numpy as np

        if isinstance(value, np.ma.MaskedArray):
            return {"fields": {"mask": self.value(np.ma.getmaskarray(value), depth),
                               "data": self.value(value.filled(), depth)}}  # fmt: skip
        if value.dtype.kind in _BUFFERED:
            data = np.ascontiguousarray(value).tobytes()
            return {"array": data, "dtype": value.dtype.str, "shape": tuple(value.shape)}
        if value.dtype.names:
            parts = {name: self.value(np.asarray(value[name]), depth) for name in value.dtype.names}
            return {"fields": parts}
        items = self.items(value.ravel().tolist(), depth)
        return {"items": items, "dtype": str(value.dtype), "shape": tuple(value.shape)}

    def column(self, values: Any, depth: int) -> Portable:
        """A pandas Series or Index as an array, with the dtype's own name."""
        import numpy as np

        dtype = values.dtype
        if isinstance(dtype, np.dtype) and dtype.kind in _BUFFERED:
            return {**self.array(values.to_numpy(), depth), "dtype_name": str(dtype)}
        if hasattr(dtype, "tz"):
            return {**self.array(values.astype("int64").to_numpy(), depth), "dtype_name": str(dtype)}
        items = self.items(values.astype(object).tolist(), depth)
        return {"items": items, "dtype_name": str(dtype), "shape": (len(items),)}


def _by_kind(value: Any, name: str, own: tuple[str, ...]) -> Portable | None:
    if isinstance(value, types.ModuleType):
        called = value.__name__
        if any(called.startswith(f"{mine}.") for mine in own):  # a package has the notebook's helpers in vendor/
            called = called.rpartition(".vendor.")[2]
        return {"type": name, "kind": "module", "name": called}
    if isinstance(value, type):
        return {"type": name, "kind": "class", "name": value.__name__}
    library = type(value).__module__.partition(".")[0]
    if library in _DRAWN:
        return {"type": name, "kind": "figure"}
    # A decorated function of the package is an instance of whatever the decorator made; it is still a function.
    if isinstance(value, _FUNCTIONS) or (callable(value) and hasattr(value, "__wrapped__")) or library == "numba":
        return {"type": "function", "kind": "function", "name": getattr(value, "__name__", "")}
    return None


def _is_cached(kind: type, name: str) -> bool:
    """Whether a part of an object's state is only what somebody happened to ask it for."""
    from functools import cached_property

    private = name.startswith("_") and ("cache" in name or "tmp" in name)
    return private or name == "__builtins__" or isinstance(getattr(kind, name, None), cached_property)


def _same_plain(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) in _SCALARS and one == other)


def _numpy(capture: _Capture, value: Any, depth: int) -> Portable | None:
    import numpy as np

    if isinstance(value, np.ndarray):
        return capture.array(value, depth)
    if isinstance(value, np.generic) and value.dtype.kind in "biufcSU":
        return {"value": value.item()}
    if isinstance(value, np.generic):
        return capture.array(np.asarray(value), depth)
    return None


def _pandas(capture: _Capture, value: Any, depth: int) -> Portable | None:
    pandas: Any = sys.modules["pandas"]
    if isinstance(value, pandas.DataFrame):
        columns = [capture.column(value.iloc[:, position], depth) for position in range(value.shape[1])]
        return {
            "frame": columns,
            "names": [str(name) for name in value.columns],
            "index": capture.value(value.index, depth),
            "columns": capture.value(value.columns, depth),
            "shape": tuple(value.shape),
        }
    if isinstance(value, pandas.Series):
        return {
            **capture.column(value, depth),
            "name": capture.value(value.name, depth),
            "index": capture.value(value.index, depth),
        }
    if isinstance(value, pandas.MultiIndex):
        levels = [capture.column(value.get_level_values(level), depth) for level in range(value.nlevels)]
        return {"frame": levels, "names": [str(name) for name in value.names], "shape": (len(value), value.nlevels)}
    if isinstance(value, pandas.Index):
        return {**capture.column(value, depth), "name": capture.value(value.name, depth)}
    if value is pandas.NaT or value is pandas.NA:
        return {"value": None}
    return None


def _polars(capture: _Capture, value: Any, depth: int) -> Portable | None:
    polars: Any = sys.modules["polars"]
    if isinstance(value, polars.DataFrame):
        columns = [_polars(capture, value.to_series(position), depth) for position in range(value.width)]
        return {"frame": columns, "names": list(value.columns), "shape": tuple(value.shape)}
    if isinstance(value, polars.Series):
        items = capture.items(value.to_list(), depth)
        return {"items": items, "dtype_name": str(value.dtype), "shape": (len(items),)}
    return None


def _torch(capture: _Capture, value: Any, depth: int) -> Portable | None:
    torch: Any = sys.modules["torch"]
    if not isinstance(value, torch.Tensor):
        return None
    dense = value.detach().cpu()
    dense = dense.to_dense() if dense.layout != torch.strided else dense
    plain = dense.float() if dense.dtype == torch.bfloat16 else dense
    return {**capture.array(plain.numpy(), depth), "dtype_name": str(value.dtype)}


_LIBRARIES: dict[str, Callable[[_Capture, Any, int], Portable | None]] = {
    "numpy": _numpy,
    "pandas": _pandas,
    "polars": _polars,
    "torch": _torch,
}
