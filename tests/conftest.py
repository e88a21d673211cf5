"""What holds for every test: no property test fails on the clock alone, and CI asks the same questions every time.

Where the suite runs in several processes, the tests of a file stay together; those that watch the whole machine, or that
start a browser or many kernels, run one after another in one process.

Run by hand, property tests look for new cases; where `CI` is set (`.ci/run` sets it) a commit passes or fails for what it
changed, and not for what was drawn.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_ONE_AT_A_TIME = {"browser", "notebook", "soak"}

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("unhurried"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "unhurried")


@pytest.hookimpl(optionalhook=True)  # other interpreters' tests run without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who runs which tests, of several processes."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "machine" if _ONE_AT_A_TIME.intersection(path.split("/")) else path

    return ByFile(config, log)
