"""What importing the runtime brings in: nothing that is slow to import and that a first call may never need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Each of these takes longer to import than half the runtime, or as long as a decorator.
SLOW = {
    "asyncio", "concurrent.futures", "ctypes", "decimal", "email", "http", "numpy", "pandas", "pathlib", "platform",
    "psutil", "pydantic", "pynvml", "socket", "ssl", "subprocess", "uuid", "prometheus_client", "opentelemetry",
    "IPython", "libcst", "mlguard_nb.devices.sampler", "mlguard_nb.runtime.reach", "mlguard_nb.runtime.reference",
    "mlguard_nb.runtime.stores.entry", "mlguard_nb.telemetry.events", "mlguard_nb.telemetry.measures",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has loaded after `code`."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(json.loads(told.stdout))


@pytest.mark.parametrize("name", ["retry", "cache_result", "monitor", "memory_guard", "validate_input", "guard"])
def test_no_decorator_imports_what_is_slow(name: str) -> None:
    """Beyond what this interpreter has loaded before the first line."""
    assert not (modules_after(f"from mlguard_nb import {name}") - modules_after("pass")) & SLOW


def test_a_line_imports_only_the_guards_it_names() -> None:
    """guard("retry=3") costs what retry costs."""
    loaded = modules_after('from mlguard_nb import guard\nguard("retry=3")(len)')
    assert "mlguard_nb.runtime.retrying" in loaded
    assert not loaded & {f"mlguard_nb.runtime.{name}" for name in ("caching", "memory", "monitoring", "validation")}


def test_the_package_alone_imports_nothing_of_the_runtime() -> None:
    assert not any(name.startswith("mlguard_nb.runtime") for name in modules_after("import mlguard_nb"))
