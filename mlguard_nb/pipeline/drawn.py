"""What a Matplotlib figure shows, as plain data: two figures are equal when the same data is drawn with the same words.

Colours, sizes and fonts are left out: they belong to the backend and its style, which a package need not share.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["drawn"]


def drawn(value: Any) -> dict[str, Any] | None:
    """The content of a figure or of its axes: words, lines, points, bars and images; None for any other artist."""
    figures, axes = sys.modules.get("matplotlib.figure"), sys.modules.get("matplotlib.axes")
    if figures is not None and isinstance(value, figures.FigureBase):
        titles = [value.get_suptitle()] if hasattr(value, "get_suptitle") else []
        return {"titles": titles, "axes": [_axes(one) for one in value.axes]}
    if axes is not None and isinstance(value, axes.Axes):
        return _axes(value)
    return None


def _axes(axes: Any) -> dict[str, Any]:
    import numpy as np

    words = [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    if axes.name == "3d":  # its lines hold what the last drawing projected, not the data
        return {"words": words}
    return {
        "words": words,
        "scales": [axes.get_xscale(), axes.get_yscale()],
        "lines": [np.array([_numbers(line.get_xdata()), _numbers(line.get_ydata())]) for line in axes.lines],
        "shapes": [_vertices([patch.get_path()], patch.get_patch_transform()) for patch in axes.patches],
        "points": [_numbers(np.ma.getdata(many.get_offsets())) for many in axes.collections],
        "areas": [_vertices(many.get_paths()) for many in axes.collections],
        "colouring": [_masked(many.get_array()) for many in axes.collections],
        "images": [_masked(image.get_array()) for image in axes.images],
    }


def _numbers(values: Any) -> Any:
    """Floats; what is no number yet (dates, categories) goes as text, as the axis would print it."""
    import numpy as np

    plain = np.asarray(values)
    try:
        return plain.astype("float64")
    except (TypeError, ValueError):
        return plain.astype("U")


def _vertices(paths: Iterable[Any], transform: Any = None) -> Any:
    import numpy as np

    found = [path.vertices if transform is None else transform.transform(path.vertices) for path in paths]
    return np.concatenate(found) if found else np.empty((0, 2))


def _masked(values: Any) -> Any:
    import numpy as np

    return None if values is None else np.ma.filled(np.ma.asarray(values).astype("float64"), np.nan)
