"""mlguard-nb: production guards for notebooks and for the packages that come out of them.

The public names load on first use, so ``import mlguard_nb`` costs no more than this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlguard_nb.version import __version__

if TYPE_CHECKING:
    from mlguard_nb.errors import (
        CircuitOpen,
        ConversionError,
        DeviceUnavailable,
        DirectiveError,
        GuardError,
        InputRejected,
        MemoryPressure,
        MemoryStop,
        MissingExtra,
        PolicyError,
        UnboundName,
    )
    from mlguard_nb.policy.schemas import Array, Col, Frame
    from mlguard_nb.policy.values import (
        CachePolicy,
        GuardPolicy,
        MemoryPolicy,
        MonitorPolicy,
        RetryPolicy,
        ValidatePolicy,
    )
    from mlguard_nb.runtime.breaker import CircuitBreaker
    from mlguard_nb.runtime.budget import RetryBudget
    from mlguard_nb.runtime.caching import cache_result
    from mlguard_nb.runtime.compose import guard
    from mlguard_nb.runtime.memory import memory_guard
    from mlguard_nb.runtime.monitoring import monitor
    from mlguard_nb.runtime.reference import Reference
    from mlguard_nb.runtime.retrying import retry
    from mlguard_nb.runtime.sharing import SharedCircuitBreaker, SharedRetryBudget
    from mlguard_nb.runtime.validation import validate_input

__all__ = [
    "Array",
    "CachePolicy",
    "CircuitBreaker",
    "CircuitOpen",
    "Col",
    "ConversionError",
    "DeviceUnavailable",
    "DirectiveError",
    "Frame",
    "GuardError",
    "GuardPolicy",
    "InputRejected",
    "MemoryPolicy",
    "MemoryPressure",
    "MemoryStop",
    "MissingExtra",
    "MonitorPolicy",
    "PolicyError",
    "Reference",
    "RetryBudget",
    "RetryPolicy",
    "SharedCircuitBreaker",
    "SharedRetryBudget",
    "UnboundName",
    "ValidatePolicy",
    "__version__",
    "cache_result",
    "guard",
    "memory_guard",
    "monitor",
    "retry",
    "validate_input",
]

_HOMES = {
    "policy.schemas": ("Array", "Col", "Frame"),
    "policy.values": (
        "CachePolicy", "GuardPolicy", "MemoryPolicy", "MonitorPolicy", "RetryPolicy", "ValidatePolicy",
    ),
    "errors": (
        "CircuitOpen", "ConversionError", "DeviceUnavailable", "DirectiveError", "GuardError", "InputRejected",
        "MemoryPressure", "MemoryStop", "MissingExtra", "PolicyError", "UnboundName",
    ),
    "runtime.breaker": ("CircuitBreaker",),
    "runtime.budget": ("RetryBudget",),
    "runtime.caching": ("cache_result",),
    "runtime.compose": ("guard",),
    "runtime.memory": ("memory_guard",),
    "runtime.monitoring": ("monitor",),
    "runtime.reference": ("Reference",),
    "runtime.retrying": ("retry",),
    "runtime.sharing": ("SharedCircuitBreaker", "SharedRetryBudget"),
    "runtime.validation": ("validate_input",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ip: Any) -> None:
    """``%load_ext mlguard_nb``: put %%guard and %guard into this kernel."""
    from importlib import import_module

    import_module("mlguard_nb.notebook.extension").load(ip)


def unload_ipython_extension(ip: Any) -> None:
    """``%unload_ext mlguard_nb``: leave the kernel as it was before."""
    from importlib import import_module

    import_module("mlguard_nb.notebook.extension").unload(ip)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "mlguard-nb"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "mlguard_nb.server.extension"}]
