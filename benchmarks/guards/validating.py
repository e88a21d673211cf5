"""validate_input beside jaxtyping + beartype, numpydantic, pydantic's validate_call, pandera and checks by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.guards.bare import add, has, row
from benchmarks.table import Row

__all__ = ["rows"]


def _one(x: Any) -> Any:
    return x


def rows() -> list[Row]:
    """Shapes, values, frames, scalars."""
    return [*_shapes(), *_values(), *_frames(), *_scalars()]


def _shapes() -> list[Row]:
    import numpy as np

    from mlguard_nb import Array, validate_input

    small = np.random.default_rng(0).random((64, 16), dtype="float32")
    shaped = validate_input(x=Array("b 16", "float32", nan="allow"))(_one)
    both = validate_input(x=Array("b d", "float32", nan="allow"), y=Array("b d", "float32", nan="allow"))(add)
    one_peers: dict[str, Callable[[], Any]] = {}
    two_peers: dict[str, Callable[[], Any]] = {}
    if has("jaxtyping", "beartype"):
        from beartype import beartype
        from jaxtyping import Float32, jaxtyped

        checked = jaxtyped(typechecker=beartype)(_annotated(x=Float32[np.ndarray, "b 16"]))
        pair = {"x": Float32[np.ndarray, "b d"], "y": Float32[np.ndarray, "b d"]}
        checked_two = jaxtyped(typechecker=beartype)(_annotated(**pair))
        one_peers["jaxtyping + beartype"] = lambda: checked(small)
        two_peers["jaxtyping + beartype"] = lambda: checked_two(small, small)
    if has("numpydantic"):
        from numpydantic import NDArray, Shape
        from pydantic import validate_call

        kind = NDArray[Shape["* b, 16 d"], np.float32]
        model = validate_call(_annotated(x=kind))
        model_two = validate_call(_annotated(x=kind, y=kind))
        one_peers["numpydantic"] = lambda: model(small)
        two_peers["numpydantic"] = lambda: model_two(small, small)
    return [
        row("validate shape + dtype, 1 array", lambda: shaped(small), one_peers, budget_ratio=10.0),
        row("validate shape + dtype, 2 arrays", lambda: both(small, small), two_peers, budget_ratio=20.0),
    ]


def _annotated(**kinds: Any) -> Callable[..., Any]:
    """A new function with these annotations, for those who read them."""

    def one(x: Any) -> Any:
        return x

    def two(x: Any, y: Any) -> Any:
        return x

    function: Callable[..., Any] = one if len(kinds) == 1 else two
    function.__annotations__ = kinds
    return function


def _values() -> list[Row]:
    import numpy as np

    from mlguard_nb import Array, validate_input

    small = np.random.default_rng(0).random(1024)
    large = np.random.default_rng(0).random(13_107_200)
    finite = validate_input(x=Array("n", "float64"))(_one)
    ranged = validate_input(x=Array("n", "float64", ge=0, le=1))(_one)

    def by_hand(x: Any) -> Any:
        if np.isnan(x).any() or np.isinf(x).any() or x.min() < 0 or x.max() > 1:
            raise ValueError
        return x

    peers = {"np.isfinite(x).all()": lambda: np.isfinite(small).all()}
    return [
        row("validate + finite, 8 kB", lambda: finite(small), peers, budget_ratio=40.0),
        row(
            "validate + range, 8 kB",
            lambda: ranged(small),
            {"numpy by hand": lambda: by_hand(small)},
            budget_ratio=100.0,
        ),
        row(
            "validate + range, 100 MB",
            lambda: ranged(large),
            {"numpy by hand": lambda: by_hand(large)},
            base=large.sum,
            base_name="np.sum",
            budget_ratio=1.3,
        ),
    ]


def _frames() -> list[Row]:
    if not has("pandas"):
        return []
    import numpy as np
    import pandas as pd

    from mlguard_nb import Col, Frame, validate_input

    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.random(1000), "b": draw.random(1000)})
    schema = Frame({"a": Col(float, ge=0, le=1), "b": Col(float, ge=0, le=1)})
    framed = validate_input(x=schema)(_one)
    peers: dict[str, Callable[[], Any]] = {}
    if has("pandera"):
        import pandera.pandas as pa

        columns = {name: pa.Column(float, pa.Check.in_range(0, 1)) for name in ("a", "b")}
        checked = pa.DataFrameSchema(columns)
        peers["pandera"] = lambda: checked.validate(frame)
    found = [row("validate pandas frame 1000x2, ranges", lambda: framed(frame), peers, budget_ratio=1667.0)]
    if has("polars"):
        import polars as pl

        other = (
            pl.from_pandas(frame) if has("pyarrow") else pl.DataFrame({name: frame[name].to_numpy() for name in frame})
        )
        peers = {}
        if has("pandera"):
            import pandera.polars as pp

            of_polars = pp.DataFrameSchema({name: pp.Column(float, pp.Check.in_range(0, 1)) for name in ("a", "b")})
            peers["pandera"] = lambda: of_polars.validate(other)
        found.append(row("validate polars frame 1000x2, ranges", lambda: framed(other), peers, budget_ratio=1667.0))
    return found


def _scalars() -> list[Row]:
    from pydantic import validate_call

    from mlguard_nb import validate_input

    def typed(x: int, y: int = 2) -> int:
        return x

    ours = validate_input(x=int, y=int)(add)
    theirs = validate_call(typed)
    return [row("validate two scalars", lambda: ours(1, 2), {"pydantic validate_call": lambda: theirs(1, 2)})]
