"""What is told about arguments when a call fails: shapes and statistics, raw values only on request, nothing secret."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mlguard_nb.errors import in_words
from mlguard_nb.runtime.arrays import as_numpy, is_array
from mlguard_nb.runtime.frames import is_frame
from mlguard_nb.runtime.reductions import pieces
from mlguard_nb.telemetry.redaction import REDACTED, is_secret, redacted

__all__ = ["summaries", "summary"]

_LONGEST = 200
_MOST_COLUMNS = 50


def summary(value: Any, capture: Sequence[str]) -> dict[str, Any]:
    """Type, and what `capture` names of shape, dtype, nan_frac, min and max, where the value has them. Of a frame the
    last four are told for each column, of the first 50.
    """
    told: dict[str, Any] = {"type": type(value).__name__}
    if is_frame(value):
        return told | _of_frame(value, capture)
    if is_array(value):
        return told | _of_array(value, capture)
    if isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)) and "shape" in capture:
        told["length"] = len(value)
    return told


def _of_frame(frame: Any, capture: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"shape": list(frame.shape)} if "shape" in capture else {}
    names = list(frame.columns)[:_MOST_COLUMNS]
    if "dtype" in capture:
        told["dtype"] = {str(name): str(kind) for name, kind in zip(names, frame.dtypes, strict=False)}
    if len(set(names)) < len(names) or not {"nan_frac", "min", "max"} & set(capture):
        return told
    columns = {str(name): _of_numbers(frame[name].to_numpy(), capture) for name in names}
    for fact in ("nan_frac", "min", "max"):
        facts = {name: column[fact] for name, column in columns.items() if fact in column}
        told |= {fact: facts} if facts else {}
    return told


def _of_array(value: Any, capture: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if "shape" in capture:
        told["shape"] = [int(size) for size in value.shape]
    if "dtype" in capture:
        told["dtype"] = str(value.dtype)
    library = type(value).__module__.partition(".")[0]
    if library == "numpy" or (library == "torch" and value.device.type == "cpu"):
        with contextlib.suppress(RuntimeError):  # a tensor without values, as under torch.func
            told |= _of_numbers(as_numpy(value), capture)
    return told  # one that lies elsewhere is not copied here just to describe it


def _of_numbers(numbers: Any, capture: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    if numbers.dtype.kind not in "fiu" or not numbers.size:
        return {}
    told: dict[str, Any] = {}
    is_float = numbers.dtype.kind == "f"
    nans, least, most = 0, [], []
    for piece in pieces(numbers.ravel(order="K")):  # memory may be what the call failed for
        finite = piece[np.isfinite(piece)] if is_float else piece
        nans += int(np.isnan(piece).sum()) if is_float else 0
        if finite.size:
            least.append(finite.min())
            most.append(finite.max())
    if "nan_frac" in capture and is_float:
        told["nan_frac"] = round(nans / numbers.size, 6)
    if least:
        told |= {name: value.item() for name, value in (("min", min(least)), ("max", max(most))) if name in capture}
    return told


def summaries(
    signature: inspect.Signature | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    capture: Sequence[str],
    include: Sequence[str],
    redact: Sequence[str],
) -> dict[str, Any]:
    """A summary of each argument by name; the text of those in `include`. Names that contain a word of `redact` are
    only named, also where they are keys within such a text.
    """
    named: dict[str, Any] = {str(place): value for place, value in enumerate(args)} | dict(kwargs)
    if signature is not None:
        with contextlib.suppress(TypeError):  # the call itself was wrong, which is what the error says
            named = dict(signature.bind(*args, **kwargs).arguments)
    told: dict[str, Any] = {}
    for name, value in named.items():
        if name == "self":
            continue
        if is_secret(name, redact):
            told[name] = REDACTED
        elif name in include:
            # Taken out before the text is cut, since half a secret is one that no pattern knows.
            told[name] = {**_described(value, capture), "value": redacted(_text(value), redact)[:_LONGEST]}
        else:
            told[name] = _described(value, capture)
    return told


def _described(value: Any, capture: Sequence[str]) -> dict[str, Any]:
    """The summary, or why there is none: describing a failed call must not fail in its turn."""
    try:
        return summary(value, capture)
    except Exception as error:
        return {"type": type(value).__name__, "unknown": in_words(error)[:_LONGEST]}


def _text(value: Any) -> str:
    try:
        return repr(value)[: 50 * _LONGEST]
    except Exception as error:
        return f"an object of type {type(value).__name__} whose repr fails with {type(error).__name__}"
