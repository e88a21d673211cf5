"""Schemas compiled into checks: for each parameter a fast expression that only accepts, and the full answer behind it.

The fast expression is Python source that a generated wrapper evaluates on every call. It may only say "certainly
good"; everything else goes to `Checks.examine`, which finds every violation, coerces, and decides.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from mlguard_nb.errors import PolicyError, Violation
from mlguard_nb.policy.schemas import Array, Col, Frame
from mlguard_nb.policy.values import NameRef
from mlguard_nb.runtime import arrays, frames
from mlguard_nb.runtime.models import Model, PanderaSchema, is_pandera
from mlguard_nb.runtime.shapes import Bindings, Shape, parse_shape

__all__ = ["Checks", "Examined", "OrNone", "Slot", "from_annotation"]

# Arrays up to this size are checked in the wrapper by two reductions; larger ones in pieces (arrays.py).
SMALL_BYTES = 1 << 20


class Examined(NamedTuple):
    """The full answer about one call: the arguments (coerced where allowed), what is wrong, what is only unusual."""

    arguments: dict[str, Any]
    violations: tuple[Violation, ...]
    unusual: tuple[Violation, ...]


class Slot:
    """One parameter (or "returns") with its schema, compiled. An optional one may be None; of one that holds `several`
    (*args, **kwargs) the schema is that of each.
    """

    def __init__(
        self, name: str, schema: Any, *, coerce: bool, depth: str, optional: bool = False, several: bool = False
    ) -> None:
        if isinstance(schema, NameRef):
            raise PolicyError(f"validate: {name}={schema.name} names a schema that is not bound yet")
        self.name, self.schema, self.coerce, self.depth, self.optional = name, schema, coerce, depth, optional
        self.several = several
        self.shape: Shape | None = None
        self.model: Model | PanderaSchema | None = None
        if isinstance(schema, Array):
            self.shape = None if schema.shape is None else parse_shape(schema.shape)
            if schema.dtype is not None:
                arrays.wanted_dtype(schema.dtype)
        elif isinstance(schema, Frame):
            for column, col in schema.columns:
                frames.check_dtype(col.dtype, column)
        elif isinstance(schema, Col):
            frames.check_dtype(schema.dtype, name)
        elif is_pandera(schema):
            self.model = PanderaSchema(schema, coerce)
        else:
            self.model = Model(schema, coerce, name)

    def examine(self, value: Any, bound: Bindings) -> tuple[Any, list[Violation], list[Violation]]:
        """(the value, violations, what is only unusual)."""
        if not self.several:
            return self._examine(self.name, value, bound)
        checked: dict[Any, Any] = {}
        broken: list[Violation] = []
        unusual: list[Violation] = []
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            checked[key], wrong, odd = self._examine(f"{self.name}[{key!r}]", one, bound)
            broken += wrong
            unusual += odd
        return checked if isinstance(value, dict) else tuple(checked.values()), broken, unusual

    def _examine(self, name: str, value: Any, bound: Bindings) -> tuple[Any, list[Violation], list[Violation]]:
        if value is None and self.optional:
            return value, [], []
        if isinstance(self.schema, Array):
            return value, *arrays.check_array(self.schema, self.shape, name, value, bound, self.depth)
        if isinstance(self.schema, Frame):
            return value, *frames.check_frame(self.schema, name, value, self.depth)
        if isinstance(self.schema, Col):
            is_column = hasattr(value, "dtype") and hasattr(value, "__len__")
            if is_column and not arrays.is_array(value):
                return value, *frames.check_column(self.schema, name, value, self.depth)
            return value, *frames.check_number(self.schema, name, value)
        assert self.model is not None
        checked, broken = self.model.check(name, value)
        return checked, broken, []

    def fast(self, names: _Names) -> str | None:
        """Source that is true only for a good value; None where only the full check can tell."""
        if self.several:
            return None
        if isinstance(self.schema, Array):
            return self._fast_array(self.schema, names)
        if isinstance(self.schema, Frame):
            clean = names.add(_FrameIsClean(self.schema, self.depth))
            return f"{clean}({self.name})"
        if isinstance(self.schema, type) and self.schema in (int, float, str, bool, bytes):
            return f"type({self.name}) is {names.add(self.schema)}"
        return None

    def _fast_array(self, schema: Array, names: _Names) -> str | None:
        import numpy as np

        terms = [f"type({self.name}) is {names.add(np.ndarray)}"]
        kind = "f"
        if schema.dtype is not None:
            try:
                dtype = np.dtype(schema.dtype)
            except TypeError:
                return None  # a dtype that NumPy does not have, such as bfloat16
            kind = dtype.kind
            terms.append(f"{self.name}.dtype is {names.add(dtype)}")
        if self.shape is not None:
            terms += self._fast_shape(self.shape, names)
        if self.depth == "full" and kind in "fiu" and (values := self._fast_values(schema, kind, names)):
            terms.append(values)
        elif self.depth == "sample":
            return None
        return " and ".join(terms)

    def _fast_shape(self, shape: Shape, names: _Names) -> list[str]:
        size = names.local(f"shape_{self.name}")
        if not _is_plain(shape):
            fits = names.add(shape.mismatch)
            return [f"{fits}({self.name}.shape, {{}}) is None"]
        terms = [f"len({size} := {self.name}.shape) == {len(shape.words)}"]
        for place, word in enumerate(shape.words):
            if isinstance(word, int):
                terms.append(f"{size}[{place}] == {word}")
            elif isinstance(word, str):
                first = names.dimension(word, f"{size}[{place}]")
                if first is not None:
                    terms.append(f"{size}[{place}] == {first}")
        return terms

    def _fast_values(self, schema: Array, kind: str, names: _Names) -> str | None:
        import numpy as np

        low, high, low_open, high_open = arrays.bounds_of(schema)
        if schema.seen is not None:
            low, high = max(low, schema.seen[0]), min(high, schema.seen[1])
            low_open = high_open = False
        clean = names.add(_ArrayIsClean(schema))
        if schema.dtype is None or np.dtype(schema.dtype).itemsize == 2:
            return f"{clean}({self.name})"
        least, most, dot = names.add(np.minimum.reduce), names.add(np.maximum.reduce), names.add(np.vdot)
        rejects = kind == "f" and schema.nan == "reject"
        if math.isfinite(low) or math.isfinite(high):
            small = " and ".join(
                f"{edge} {sign}{'' if is_open or math.isinf(bound) else '='} {names.add(bound)}"
                for edge, sign, is_open, bound in (
                    (f"{least}({self.name}, None)", ">", low_open, low),
                    (f"{most}({self.name}, None)", "<", high_open, high),
                )
                if rejects or math.isfinite(bound)
            )
        elif schema.nan == "allow" or kind != "f":
            return None
        else:
            # A sum of squares is finite only where every value is; where it overflows the full check decides.
            small = f"{dot}({self.name}, {self.name}) < {names.add(math.inf)}"
        return f"({small} if 0 < {self.name}.nbytes <= {SMALL_BYTES} else {clean}({self.name}))"


def _is_plain(shape: Shape) -> bool:
    """Whether the shape is a fixed number of numbers, names and `_`."""
    return shape.gap is None and all(isinstance(word, (int, str, type(None))) for word in shape.words)


class _ArrayIsClean:
    """The piecewise check of a large, empty or odd array, as a function of the array alone."""

    def __init__(self, schema: Array) -> None:
        self.schema = schema

    def __call__(self, value: Any) -> bool:
        broken, unusual = arrays.check_array(self.schema, None, "", value, {})
        return not broken and not unusual


class _FrameIsClean:
    """The columns of a frame, read once each."""

    def __init__(self, schema: Frame, depth: str) -> None:
        self.schema, self.depth = schema, depth

    def __call__(self, value: Any) -> bool:
        broken, unusual = frames.check_frame(self.schema, "", value, self.depth)
        return not broken and not unusual


class _Names:
    """The names of one generated wrapper: objects it refers to, and the dimensions bound so far."""

    def __init__(self, taken: set[str], prefix: str) -> None:
        self.objects: dict[str, Any] = {}
        self._taken, self._prefix = taken, prefix
        self._dimensions: dict[str, str] = {}

    def add(self, value: Any) -> str:
        for name, known in self.objects.items():
            if known is value:
                return name
        name = self.local(f"o{len(self.objects)}")
        self.objects[name] = value
        return name

    def local(self, word: str) -> str:
        name = f"{self._prefix}{word}"
        while name in self._taken:
            name += "_"
        return name

    def dimension(self, word: str, where: str) -> str | None:
        """The expression that holds `word` already, None when `where` is the first to have it."""
        if word in self._dimensions:
            return self._dimensions[word]
        self._dimensions[word] = where
        return None


class Checks:
    """All slots of one function. `signature` places arguments; `returns` is the slot of the return value. A parameter
    whose default is None may be None.
    """

    def __init__(
        self,
        signature: inspect.Signature,
        schemas: Mapping[str, Any],
        *,
        returns: Any = None,
        coerce: bool = False,
        depth: str = "full",
    ) -> None:
        unknown = [name for name in schemas if name not in signature.parameters]
        if unknown:
            known = ", ".join(signature.parameters) or "none"
            raise PolicyError(f"validate_input: there is no parameter {unknown[0]!r}; the function has {known}")
        self.slots = tuple(
            self._slot(
                name,
                schemas[name],
                coerce=coerce,
                depth=depth,
                optional=parameter.default is None,
                several=parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD),
            )
            for name, parameter in signature.parameters.items()
            if name in schemas
        )
        self.returns = None if returns is None else self._slot("returns", returns, coerce=coerce, depth=depth)
        self._check_dimensions()

    @staticmethod
    def _slot(name: str, schema: Any, *, optional: bool = False, **how: Any) -> Slot:
        if isinstance(schema, OrNone):
            schema, optional = schema.schema, True
        return Slot(name, schema, optional=optional, **how)

    def _check_dimensions(self) -> None:
        bound: set[str] = set()
        for slot in (*self.slots, *((self.returns,) if self.returns else ())):
            if slot.shape is None:
                continue
            bound.update(slot.shape.names)
            missing = [name for name in slot.shape.reads if name not in bound]
            if missing:
                raise PolicyError(
                    f'{slot.name}=Array("{slot.shape.text}"): the dimension {missing[0]!r} is not bound by this or an '
                    "earlier argument"
                )

    def examine(self, arguments: Mapping[str, Any]) -> tuple[Examined, Bindings]:
        """The full answer about the bound `arguments`, and the dimensions they bind."""
        bound: Bindings = {}
        checked = dict(arguments)
        broken: list[Violation] = []
        unusual: list[Violation] = []
        for slot in self.slots:
            checked[slot.name], wrong, odd = slot.examine(arguments[slot.name], bound)
            broken += wrong
            unusual += odd
        return Examined(checked, tuple(broken), tuple(unusual)), bound

    def fast_source(self, taken: set[str], prefix: str = "_mlguard_") -> tuple[str, dict[str, Any]] | None:
        """(source that is true only when every argument is good, the objects it names); None where there is none."""
        names = _Names(taken, prefix)
        shapes = [slot.shape for slot in self.slots if slot.shape is not None]
        # What a gap or an expression binds is not seen by the other arguments' fast expressions.
        if (len(shapes) > 1 and not all(_is_plain(shape) for shape in shapes)) or any(
            slot.coerce and slot.model is not None for slot in self.slots
        ):
            return None
        terms = [slot.fast(names) for slot in self.slots]
        if not terms or any(term is None for term in terms):
            return None
        return " and ".join(term for term in terms if term), names.objects


class OrNone(NamedTuple):
    """The schema of an annotation that allows None."""

    schema: Any


def from_annotation(annotation: Any) -> Any:
    """The schema inside `Annotated[..., Array(...)]`, OrNone of it inside `Annotated[...] | None`, None without any.

    A schema is an Array, Frame, Col or pandera schema; an annotation with conditions of pydantic, such as
    `Annotated[int, Field(ge=0)]`, is one as a whole.
    """
    if get_origin(annotation) in (Union, UnionType):
        found = [schema for part in get_args(annotation) if (schema := from_annotation(part)) is not None]
        allows_none = type(None) in get_args(annotation)
        return OrNone(found[0]) if len(found) == 1 and allows_none and len(get_args(annotation)) == 2 else None
    if get_origin(annotation) is not Annotated:
        return None
    for item in get_args(annotation)[1:]:
        if isinstance(item, (Array, Frame, Col)) or is_pandera(item):
            return item
        if type(item).__module__.partition(".")[0] in ("pydantic", "annotated_types"):
            return annotation
    return None
