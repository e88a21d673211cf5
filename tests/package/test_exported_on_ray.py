"""`PKG run --engine ray` on an exported notebook: the same values as in this process, and one trace of all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.exporting import export
from mlguard_nb.pipeline import equal, load_results
from tests.package.otlp_receiver import Received, receiver

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
EXAMPLES = Path(__file__).parents[2] / "example_notebooks"


class Ran:
    """A package that ran once in one process and once on Ray, and what a collector heard of the second run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.story = ""
        self.heard: Received
        self.counted: Path  # where prometheus_client leaves what other processes serve

    def run(self, engine: str, **variables: str) -> str:
        command = [sys.executable, "-m", "messy_research", "run", "--base-dir", str(EXAMPLES), "--engine", engine]
        paths = {"PYTHONPATH": str(self.folder / "package/src"), "HOME": str(self.folder)}
        done = subprocess.run(
            [*command, "--save", str(self.folder / engine)],
            env={**os.environ, **paths, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    pytest.importorskip("ray", reason="ray is not installed; pip install 'mlguard-nb[ray]'")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    ran = Ran(tmp_path_factory.mktemp("on_ray"))
    export(EXAMPLES / "messy_research.ipynb", ran.folder / "package")
    ran.run("local")
    with receiver() as ran.heard:
        ran.counted = ran.folder / "counted"
        ran.counted.mkdir()
        variables = {"PROMETHEUS_MULTIPROC_DIR": str(ran.counted)}
        ran.story = ran.run("ray", OTEL_EXPORTER_OTLP_ENDPOINT=ran.heard.endpoint, **variables)
    return ran


def test_every_value_is_the_same(ran: Ran) -> None:
    here, there = load_results(ran.folder / "local"), load_results(ran.folder / "ray")
    assert len(here) > 20
    assert here.keys() == there.keys()
    assert [name for name in here if not equal(here[name], there[name]).equal] == []


def test_the_story_names_every_step_and_how_parallel_they_were(ran: Ran) -> None:
    assert "11 steps in" in ran.story
    assert "read_counts" in ran.story
    assert "done: 11 steps" in ran.story


def test_figures_lie_where_they_were_asked_for(ran: Ran) -> None:
    """A worker saves into the folder of the driver."""
    assert sorted(path.name for path in (ran.folder / "ray/figures").iterdir()) == ["features.png", "look_result.png"]


def test_one_trace_leads_from_the_run_into_the_workers(ran: Ran) -> None:
    """run > step > monitored call, and run > step > attempt, sent by different processes to a collector."""
    assert len({span.trace_id for span in ran.heard.spans}) == 1
    assert ran.heard.paths_to("read_data") == [["messy_research run", "read_data"]]
    step, call = ["messy_research run", "fit"], ["messy_research run", "fit", "fit"]
    assert sorted(ran.heard.paths_to("fit")) == [step, call], "the step, and the call that monitor watches inside it"
    attempt = ["messy_research run", "read_counts", "read_counts attempt"]
    assert ran.heard.paths_to("read_counts attempt") == [attempt]


def test_metrics_of_the_workers_are_counted_once(ran: Ran) -> None:
    """The guards' events come back with the step; the driver tells them."""
    calls: Any = ran.heard.metrics["mlguard_calls"]
    assert [point.as_int for point in calls.sum.data_points] == [1]


def test_prometheus_finds_the_workers_calls_in_the_driver_s_files(ran: Ran) -> None:
    """Once: the workers hand their events over and write no metrics of ours."""
    client = pytest.importorskip("prometheus_client")
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = client.CollectorRegistry()
    MultiProcessCollector(registry, str(ran.counted))
    assert registry.get_sample_value("mlguard_calls_total", {"function": "fit", "outcome": "ok"}) == 1
    step, run = {"function": "fit", "outcome": "ok"}, {"function": "messy_research", "outcome": "ok"}
    assert registry.get_sample_value("mlguard_steps_total", step) == 1
    assert registry.get_sample_value("mlguard_runs_total", run) == 1
    ours = [path for path in ran.counted.glob("*.db") if b"mlguard_" in path.read_bytes()]
    assert len({path.stem.rpartition("_")[2] for path in ours}) == 1, "the others are of Ray's own processes"
