"""What of a run's values is worth keeping in a small JSON file, and whether a later run still gives it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlguard_nb.pipeline.comparing import Comparison, compare, equal, shortened
from mlguard_nb.pipeline.portable import Portable, portable

__all__ = [
    "Comparison",
    "check_recorded",
    "compare",
    "differences",
    "equal",
    "recorded_text",
    "summarise",
    "summary",
]

_RECORDED_RELATIVE = 1e-6  # moments add up in another order on another machine
_WHOLE_ITEMS = 20
_WHOLE_TEXT = 200


def summarise(value: Any, *, own: Iterable[str] = ("__main__",)) -> dict[str, Any]:
    """What of `value` is worth keeping, as JSON: a scalar whole, the rest by type, dtype, shape and moments."""
    return summary(portable(value, own))


def summary(value: Portable) -> dict[str, Any]:
    """The same of a portable value."""
    kept: dict[str, Any] = {"type": value["type"]}
    if "kind" in value:
        return {**kept, "kind": value["kind"]}
    if "value" in value:
        return {**kept, **_scalar(value["value"])}
    if "frame" in value:
        kept["shape"] = list(value["shape"])
        columns = list(zip(value["names"], value["frame"], strict=True))
        kept["dtypes"] = {name: column.get("dtype_name", column.get("dtype")) for name, column in columns}
        kept["columns"] = {name: _content(column) for name, column in columns}
        return {**kept, **_index(value)}
    if "array" in value or "dtype_name" in value or "dtype" in value:
        kept["shape"] = list(value["shape"])
        kept["dtype"] = value.get("dtype_name") or _dtype_name(value["dtype"])
        return {**kept, **_content(value), **_index(value)}
    if "items" in value:
        return {**kept, "length": len(value["items"]), **_content(value)}
    if "pairs" in value:
        kept["length"] = len(value["pairs"])
        if len(value["pairs"]) <= _WHOLE_ITEMS:
            kept["items"] = {_key(key): summary(item) for key, item in value["pairs"]}
        return kept
    for part, name in (("params", "params"), ("fields", "fitted" if value.get("estimator") else "state")):
        found = {key: _brief(item) for key, item in value.get(part, {}).items()}
        if found:
            kept[name] = found
    return kept


def _index(value: Portable) -> dict[str, Any]:
    """What the rows are called, unless they are only counted."""
    index = value.get("index", {})
    if "frame" in index:
        return {"index": {name: _content(level) for name, level in zip(index["names"], index["frame"], strict=True)}}
    return {"index": _content(index)} if index and index["type"] != "pandas.RangeIndex" else {}


def _key(key: Portable) -> str:
    return str(key["value"]) if isinstance(key.get("value"), str) else repr(key.get("value", key["type"]))


def _brief(value: Portable) -> dict[str, Any]:
    """A part of an object: its own summary without going further down into objects."""
    if "value" in value or "array" in value or "kind" in value:
        return summary(value)
    size = next((len(value[name]) for name in ("items", "pairs", "frame") if name in value), None)
    return {"type": value["type"]} if size is None else {"type": value["type"], "length": size}


def _scalar(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and len(value) > _WHOLE_TEXT:
        return {"length": len(value), "digest": _digest(value.encode("utf-8", "surrogatepass"))}
    if isinstance(value, bytes):
        return {"length": len(value), "digest": _digest(value)}
    if isinstance(value, complex):
        return {"value": [_json_float(value.real), _json_float(value.imag)]}
    return {"value": _json_float(value) if isinstance(value, float) else value}


def _content(value: Portable) -> dict[str, Any]:
    """Moments of numbers; small sequences whole; a digest and the number of different values for the rest."""
    if "array" in value:
        return _array_content(value)
    items = value["items"]
    if items and all(type(item) in (int, float) for item in items) and len(items) > _WHOLE_ITEMS:
        import numpy as np

        return _moments(np.asarray(items, dtype=float))
    if len(items) <= _WHOLE_ITEMS and "dtype_name" not in value:
        return {"items": [summary(item) if isinstance(item, dict) else _plain(item) for item in items]}
    if all(not isinstance(item, dict) for item in items):
        texts = [repr(item) for item in items]
        return {"distinct": len(set(texts)), "digest": _digest("\n".join(texts).encode("utf-8", "surrogatepass"))}
    return {}


def _array_content(value: Portable) -> dict[str, Any]:
    import numpy as np

    array = np.frombuffer(value["array"], dtype=value["dtype"])
    if array.dtype.kind in "biuf":
        if array.size <= _WHOLE_ITEMS and "dtype_name" not in value:
            plain = [_plain(item) for item in array.tolist()]
            return {"values": plain}
        return _moments(array.astype(float))
    return {"digest": _digest(value["array"])}


def _moments(array: Any) -> dict[str, Any]:
    import numpy as np

    finite = array[np.isfinite(array)]
    found: dict[str, Any] = {}
    if finite.size < array.size:
        found["missing"] = int(array.size - finite.size)
    if finite.size:
        found["mean"] = _json_float(float(finite.mean()))
        found["std"] = _json_float(float(finite.std()))
        found["min"] = _json_float(float(finite.min()))
        found["max"] = _json_float(float(finite.max()))
    return found


def _plain(item: Any) -> Any:
    return _scalar(item).get("value", _scalar(item))


def _json_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _dtype_name(text: str) -> str:
    import numpy as np

    return str(np.dtype(text))


def _digest(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()[:16]


def differences(recorded: Any, found: Any, where: str = "") -> list[str]:
    """Every place where a summary differs from a recorded one: numbers to 1e-6 of their value, the rest exactly."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        lines: list[str] = []
        for name in [*recorded, *(name for name in found if name not in recorded)]:
            place = f"{where}.{name}" if where else str(name)
            if name not in found or name not in recorded:
                lines.append(f"{place}: {'missing now' if name not in found else 'not recorded'}")
            else:
                lines.extend(differences(recorded[name], found[name], place))
        return lines
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        pairs = enumerate(zip(recorded, found, strict=True))
        return [line for number, (a, b) in pairs for line in differences(a, b, f"{where}[{number}]")]
    if _is_number(recorded) and _is_number(found):
        whole = isinstance(recorded, int) and isinstance(found, int)  # whole numbers are exact
        if not whole and math.isclose(recorded, found, rel_tol=_RECORDED_RELATIVE, abs_tol=1e-9):  # pyright: ignore
            return []
    if recorded == found and isinstance(recorded, bool) == isinstance(found, bool):
        return []
    return [f"{where}: recorded {shortened(recorded)}, found {shortened(found)}"]


def recorded_text(
    values: Mapping[str, Portable], *, notebook: str, own: Iterable[str] = ("__main__",), unstable: Iterable[str] = ()
) -> str:
    """The text of a `recorded.json`: summaries of a notebook's final `values`, of `unstable` names only the type.

    `own` names the modules whose classes are the notebook's own: its package's.
    """
    changing = set(unstable)
    kept = {name: {"type": value["type"]} if name in changing else summary(value) for name, value in values.items()}
    recorded = {"notebook": notebook, "own": list(own), "unstable": sorted(changing), "values": kept}
    return json.dumps(recorded, indent=1, ensure_ascii=False) + "\n"


def check_recorded(results: Mapping[str, Any], path: str | Path) -> None:
    """AssertionError, naming every difference, unless `results` still has the values recorded in `path`.

    Names that `path` does not know are ignored; a recorded name that is missing is a difference.
    """
    recorded = json.loads(Path(path).read_text(encoding="utf-8"))
    own = tuple(recorded.get("own", ("__main__",)))
    unstable = set(recorded.get("unstable", ()))
    lines: list[str] = []
    for name, expected in recorded["values"].items():
        if name not in results:
            lines.append(f"{name}: missing")
            continue
        found = summarise(results[name], own=own)
        lines.extend(differences(expected, {"type": found["type"]} if name in unstable else found, name))
    if lines:
        raise AssertionError(f"{len(lines)} differences from {recorded['notebook']}:\n  " + "\n  ".join(lines))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
