"""What holds for every test: no property test fails on the clock alone, and CI asks the same questions every time.

Where the suite runs in several processes, the tests of a file stay together; those that start a browser, fill memory or
measure a whole load run one after another in one process, and what takes longest begins first.

Run by hand, property tests look for new cases; where `CI` is set (`.ci/run` sets it) a commit passes or fails for what it
changed, and not for what was drawn.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_ONE_AT_A_TIME = (
    "tests/browser/", "tests/notebook/test_bombs.py", "tests/notebook/test_races.py", "tests/notebook/test_soak.py",
    "tests/soak/",
)  # fmt: skip
# The others, as far as they take longer than a few seconds.
_DEAREST_FIRST = (
    "machine", "tests/packaging/", "tests/package/", "tests/test_examples.py", "tests/converter/", "tests/notebook/",
    "tests/test_docs.py",
)  # fmt: skip

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("unhurried"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "unhurried")


@pytest.hookimpl(optionalhook=True)  # other interpreters' tests run without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who runs which tests, of several processes."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "machine" if nodeid.startswith(_ONE_AT_A_TIME) else nodeid.partition("::")[0]

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue.move_to_end(min(self.workqueue, key=_place), last=False)
            super()._assign_work_unit(node)

    return ByFile(config, log)


def _place(scope: str) -> int:
    """Where among the dearest tests these stand."""
    return next((place for place, start in enumerate(_DEAREST_FIRST) if scope.startswith(start)), len(_DEAREST_FIRST))
