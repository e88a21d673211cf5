"""Types for names, from what --verify saw: spelt with the notebook's own imports; without a sight, none."""

from __future__ import annotations

import builtins
from collections.abc import Mapping

from mlguard_convert.emitting.names import Introduced
from mlguard_convert.plan import Plan, Step

__all__ = ["Types"]

_CALLABLE = ("function", "method", "builtin_function_or_method", "partial")


class Types:
    """Annotations for one module. A name has one only where its last value is the one meant."""

    def __init__(self, plan: Plan, seen: Mapping[str, str] | None, introduced: Introduced) -> None:
        self._plan, self._seen, self._introduced = plan, dict(seen or {}), introduced
        self._last = {name: step.name for step in plan.steps for name in step.outputs}
        self._params = {param.name: param.annotation for param in plan.params}
        self._bound = {name for step in plan.steps for name in (*step.outputs, *step.inputs)}
        self._bound.update([one.name for one in plan.functions], [one.name for one in plan.constants])
        self._bound.update([one.name for one in plan.params], [one.name for one in plan.imports])
        self._shared = {name for name, _ in plan.shared}
        self._imports = {one.module: one.name for one in plan.imports if one.attribute is None}
        self._classes = {(one.module, one.attribute): one.name for one in plan.imports if one.attribute}

    def final(self, name: str) -> str | None:
        """The type of the value that the notebook ends with; None was seen: what else it may be is not known."""
        full = self._seen.get(name, "")
        return None if full == "NoneType" else self._spelt(full)

    def returned(self, step: Step) -> str | None:
        """What a step returns: in a tuple of which some types are known, the others are Any."""
        if not step.outputs:
            return "None"
        given = [self.given(step, name) for name in step.outputs]
        if len(given) == 1 or not any(given):
            return given[0]
        return f"tuple[{', '.join(one or self._introduced.name('Any', 'typing') for one in given)}]"

    def given(self, step: Step, name: str) -> str | None:
        """The type of a step's output; none where it may be unbound."""
        if name in step.unbound_outputs:
            return None
        exact = self._seen.get(f"{step.name}.{name}")
        if exact is not None:
            return None if exact == "NoneType" else self._spelt(exact)
        return self.final(name) if self._last.get(name) == step.name else None

    def taken(self, step: Step, name: str) -> str | None:
        """The type of a step's input: where its last binder runs before the step, or a parameter of the run."""
        exact = self._seen.get(f"{step.name}({name})")
        if exact is not None:
            return None if exact == "NoneType" else self._spelt(exact)
        order = [one.name for one in self._plan.steps]
        last = self._last.get(name)
        if last is not None:
            return self.final(name) if order.index(last) < order.index(step.name) else None
        annotation = self._params.get(name)
        return annotation if annotation in ("int", "float", "str", "bool", "list", "dict", "tuple") else None

    def of_function(self, function: str, name: str) -> str | None:
        """The one type that a function of the notebook was called with for `name`, or gave ("return").

        None for its own classes: the function may stand above them.
        """
        full = self._seen.get(f"{function}.return" if name == "return" else f"{function}({name})", "")
        own = "." not in full and not hasattr(builtins, full) and full != "NoneType"
        return None if own or (full == "NoneType" and name != "return") else self._spelt(full)

    def _spelt(self, full: str) -> str | None:
        if not full:
            return None
        module, _, name = full.rpartition(".")
        if full in ("None", "NoneType", "builtins.NoneType"):
            return "None"
        if module in ("", "builtins") and name in _CALLABLE:
            return (
                f"{self._introduced.name('Callable', 'collections.abc')}[..., {self._introduced.name('Any', 'typing')}]"
            )
        if module in ("", "builtins"):
            known = hasattr(builtins, name) and name not in self._bound
            own = any(one.name == name and one.is_class for one in self._plan.functions) or name in self._shared
            return name if known or own else None
        if not name.isidentifier() or "<" in full:
            return None
        if (module, name) in self._classes:
            return self._classes[module, name]
        parts = module.split(".")
        for count in range(len(parts), 0, -1):
            alias = self._imports.get(".".join(parts[:count]))
            if alias is not None and count == len(parts):
                return f"{alias}.{name}"
        if parts[0] in ("mlguard_nb", "__main__") or any(part.startswith("_") for part in parts):
            return None
        return self._introduced.name(name, module)
