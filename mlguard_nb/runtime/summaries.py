"""What is told about arguments when a call fails: shapes and statistics, raw values only on request, nothing secret."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlguard_nb.runtime.arrays import is_array
from mlguard_nb.runtime.frames import is_frame

__all__ = ["REDACTED", "redacted", "summaries", "summary"]

REDACTED = "[redacted]"
# What looks like a credential in running text: bearer tokens, keys with a well-known beginning, user:password in a URL.
_PATTERNS = re.compile(
    r"(?i)(bearer\s+[\w.~+/-]{8,}=*|\b(?:sk|pk|ghp|gho|xox[abp])[-_][\w-]{8,}|\bAKIA[0-9A-Z]{16}\b|(?<=://)[^/\s:@]+:[^/\s@]+(?=@))"
)
_LONGEST = 200


def redacted(text: str) -> str:
    """`text` with what looks like a credential taken out."""
    return _PATTERNS.sub(REDACTED, text)


def summary(value: Any, capture: Sequence[str]) -> dict[str, Any]:
    """Type, and what `capture` names of shape, dtype, nan_frac, min and max, where the value has them."""
    told: dict[str, Any] = {"type": type(value).__name__}
    if is_frame(value):
        if "shape" in capture:
            told["shape"] = list(value.shape)
        if "dtype" in capture:
            told["dtype"] = {
                str(name): str(kind) for name, kind in zip(value.columns[:50], value.dtypes[:50], strict=True)
            }
        return told
    if is_array(value):
        return told | _of_array(value, capture)
    if isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)) and "shape" in capture:
        told["length"] = len(value)
    return told


def _of_array(value: Any, capture: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    told: dict[str, Any] = {}
    if "shape" in capture:
        told["shape"] = [int(size) for size in value.shape]
    if "dtype" in capture:
        told["dtype"] = str(value.dtype)
    if type(value).__module__.partition(".")[0] != "numpy" or value.dtype.kind not in "fiu" or not value.size:
        return told  # a tensor elsewhere is not copied here just to describe it
    finite = value[np.isfinite(value)] if value.dtype.kind == "f" else value
    if "nan_frac" in capture and value.dtype.kind == "f":
        told["nan_frac"] = round(float(np.isnan(value).mean()), 6)
    if finite.size:
        told |= {name: getattr(finite, name)().item() for name in ("min", "max") if name in capture}
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
    only named.
    """
    named: dict[str, Any] = {str(place): value for place, value in enumerate(args)} | dict(kwargs)
    if signature is not None:
        with contextlib.suppress(TypeError):  # the call itself was wrong, which is what the error says
            named = dict(signature.bind(*args, **kwargs).arguments)
    told: dict[str, Any] = {}
    for name, value in named.items():
        if name == "self":
            continue
        if any(word.lower() in name.lower() for word in redact):
            told[name] = REDACTED
        elif name in include:
            told[name] = {**summary(value, capture), "value": redacted(repr(value)[:_LONGEST])}
        else:
            told[name] = summary(value, capture)
    return told
