"""What holds for every test: no property test fails on the clock alone, and CI asks the same questions every time.

Run by hand, property tests look for new cases; where `CI` is set (`.ci/run` sets it) a commit passes or fails for what it
changed, and not for what was drawn.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("unhurried"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "unhurried")
