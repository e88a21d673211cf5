"""The manifests of --k8s: they fit Kubernetes' own schemas, and say what the notebook's guard lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlguard_convert.exporting import export
from mlguard_convert.package import command_of
from mlguard_convert.plan import make_plan
from mlguard_convert.reader import read_notebook
from mlguard_convert.settings import ExportOptions
from mlguard_convert.several import export_several
from mlguard_convert.templates import kubernetes
from mlguard_convert.workloads import Resources, Workload, workload_of
from tests.package.notebooks import PACKAGE, write_notebook

yaml = pytest.importorskip("yaml", reason="NOT TESTED: the manifests need kubernetes-validate")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="NOT TESTED: the manifests' schemas")

SMALL = Resources(request=2**30, limit=2**31)


def documents(text: str) -> list[dict[str, Any]]:
    """The documents, each of which fits its schema, without a field that the schema does not know."""
    found = list(yaml.safe_load_all(text))
    for document in found:
        for version in ("1.31", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(document, version, strict=True)
    return found


def exported(tmp_path: Path, *cells: Any) -> dict[str, list[dict[str, Any]]]:
    """The manifests of a notebook, by file."""
    notebook = write_notebook(tmp_path / "churn.ipynb", *cells)
    result = export(notebook, tmp_path / "churn", options=ExportOptions(k8s=True))
    assert result.folder is not None
    files = sorted((result.folder / "kubernetes").iterdir())
    return {file.name: documents(file.read_text()) for file in files}


def pod_of(document: dict[str, Any]) -> Any:
    return document["spec"]["template"]["spec"]


def asked(document: dict[str, Any]) -> Any:
    return pod_of(document)["containers"][0]["resources"]


def test_a_notebook_without_functions_is_a_job(tmp_path: Path) -> None:
    found = exported(tmp_path, "%%guard retry=3\ntotal = 1 + 2")
    assert list(found) == ["job.yaml"]
    (job,) = found["job.yaml"]
    assert job["kind"] == "Job"
    assert asked(job) == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}
    assert "a guess" in (tmp_path / "churn/kubernetes/job.yaml").read_text()


@pytest.mark.parametrize(
    ("lines", "request_", "limits"),
    [
        (["mem=0.8 need=2GB"], "2G", {"memory": "4Gi"}),
        (["mem=0.8 need=6GiB"], "6Gi", {"memory": "12Gi"}),
        (["mem=12GB"], "12G", {"memory": "12G"}),
        (["mem=12GB need=500MiB"], "500Mi", {"memory": "12G"}),
        (["mem=1GB need=1500MB"], "1500M", {"memory": "1500M"}),
        (["mem=1GB", "mem=3000KB need=1001B"], "1001", {"memory": "1G"}),
        (["mem=2000KB"], "2M", {"memory": "2M"}),
        (["mem=2001KB"], "2001k", {"memory": "2001k"}),
        (["mem=0.8 gpu=0.9"], "2Gi", {"memory": "4Gi", "nvidia.com/gpu": "1"}),
        (["mem=0.8 need=2GB gpu=0.9 device=2"], "2G", {"memory": "4Gi", "nvidia.com/gpu": "3"}),
        (["gpu=20GB", "mem=4GB"], "4G", {"memory": "4G", "nvidia.com/gpu": "1"}),
    ],
)
def test_the_guard_lines_say_what_is_asked_for(
    tmp_path: Path, lines: list[str], request_: str, limits: dict[str, str]
) -> None:
    """need= is requested, mem= in bytes is the limit, gpu= and device= ask for devices; a share names no size."""
    cells = [f"%%guard {line}\nx{number} = {number}" for number, line in enumerate(lines)]
    plan = make_plan(read_notebook(write_notebook(tmp_path / "churn.ipynb", *cells)))
    (job,) = documents(kubernetes.jobs(replace(PACKAGE, kubernetes=workload_of(plan))))
    assert asked(job) == {"requests": {"cpu": "1", "memory": request_}, "limits": limits}


def test_guards_within_a_step_count_too(tmp_path: Path) -> None:
    """Of a function that the step defines, and of a cell that shares its step with others."""
    cells = [
        "%%guard mem=3GB\ndef add(x):\n    global total\n    total = total + x",
        "total = 0\nadd(1)",
        "%%guard mem=0.9 need=2GB\ntotal = total + 1\nhelper = lambda: total",
        "total = 5\nprint(helper())",
    ]
    plan = make_plan(read_notebook(write_notebook(tmp_path / "churn.ipynb", *cells)))
    assert any(step.guarded or step.inner for step in plan.steps), "the case is still what it was"
    assert workload_of(plan).run == Resources(request=2 * 10**9, limit=3 * 10**9)


def test_functions_become_a_deployment_and_a_service(tmp_path: Path) -> None:
    """Ready while there is memory, alive while the process answers; a user without rights; metrics for Prometheus."""
    found = exported(
        tmp_path,
        "rate = 3",
        "rate = rate * 2",
        "%%guard mem=3GB gpu=0.9\ndef score(x: int) -> int:\n    return x * rate",
        "%%guard mem=8GB need=6GB\ntotal = score(2)",
    )
    job, (deployment, service) = found["job.yaml"][0], found["serve.yaml"]
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    assert asked(job) == {
        "requests": {"cpu": "1", "memory": "6G"},
        "limits": {"memory": "8G", "nvidia.com/gpu": "1"},
    }
    assert asked(deployment)["limits"] == {"memory": "3G", "nvidia.com/gpu": "1"}
    (container,) = pod_of(deployment)["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert container["args"][-2:] == ["--from", "/data/results"], "score needs the rate of a run"
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    dockerfile = (tmp_path / "churn/Dockerfile").read_text()
    assert "-c requirements.lock '.[serve]'" in dockerfile, "what serving adds leaves what is pinned as it is"
    assert "USER nobody\nENV HOME=/tmp\n" in dockerfile, "nobody has no home to keep caches in"
    readme = (tmp_path / "churn/README.md").read_text()
    assert "kubectl apply -f kubernetes/job.yaml" in readme
    assert "kubernetes/serve.yaml" in readme


def test_secrets_come_from_a_secret_of_the_cluster(tmp_path: Path) -> None:
    """Into the variables that the package reads; one with a default may be missing."""
    cell = {
        "cell_type": "code", "execution_count": None, "outputs": [], "metadata": {"tags": ["parameters"]},
        "source": "api_key = 'abcd1234efgh'\npassword = ''",
    }  # fmt: skip
    found = exported(tmp_path, cell, "def double(x):\n    return [x, api_key, password]", "y = double(1)")
    for document in (found["job.yaml"][0], found["serve.yaml"][0]):
        (container,) = pod_of(document)["containers"]
        assert [one for one in container["env"] if "valueFrom" in one] == [
            {"name": f"CHURN_{name}", "valueFrom": {"secretKeyRef": {"name": "churn", "key": f"CHURN_{name}", "optional": optional}}}
            for name, optional in (("API_KEY", False), ("PASSWORD", True))
        ]  # fmt: skip
    assert "come from the Kubernetes secret `churn`" in (tmp_path / "churn/README.md").read_text()


def test_every_pod_runs_without_rights(tmp_path: Path) -> None:
    """The restricted pod security standard, point by point."""
    found = exported(tmp_path, "def double(x):\n    return 2 * x", "y = double(1)")
    for document in (found["job.yaml"][0], found["serve.yaml"][0]):
        pod = pod_of(document)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip


def test_the_package_takes_what_its_job_says(tmp_path: Path) -> None:
    """The very words, with the volume in another place."""
    (job,) = exported(tmp_path, "total = 1 + 2")["job.yaml"]
    (container,) = pod_of(job)["containers"]
    assert container["command"] == ["churn"]
    data = tmp_path / "data"
    data.mkdir()
    words = [word.replace("/data", str(data)) for word in container["args"]]
    path = {"PYTHONPATH": str(tmp_path / "churn/src")}
    command = [sys.executable, "-m", "churn", *words]
    done = subprocess.run(command, env={**os.environ, **path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (data / "results").is_dir()


def test_several_notebooks_are_several_jobs(tmp_path: Path) -> None:
    one = write_notebook(tmp_path / "clean.ipynb", "%%guard mem=1GB\nx = 1")
    two = write_notebook(tmp_path / "train.ipynb", "%%guard mem=5GB\ny = 2", "def f(x):\n    return x")
    options = ExportOptions(name="reports", k8s=True)
    folder = export_several([one, two], tmp_path / "out", options=options).folder
    assert folder is not None
    jobs = documents((folder / "kubernetes/job.yaml").read_text())
    assert [job["metadata"]["name"] for job in jobs] == ["reports-clean", "reports-train"]
    assert [pod_of(job)["containers"][0]["command"] for job in jobs] == [["reports-clean"], ["reports-train"]]
    assert [asked(job)["limits"]["memory"] for job in jobs] == ["1G", "5G"]
    served = documents((folder / "kubernetes/serve.yaml").read_text())
    assert [one["metadata"]["name"] for one in served] == ["reports-train", "reports-train"]


@pytest.mark.parametrize(
    "name",
    [
        "null", "true", "on", "_", "n", "données", "包", "2024_report", "A_B", "x" * 90, "a_" * 40, "-", "5",
        'a: b\n- "c"', "a'b\"c", "{x}", "# no", "\x07\u2028", "a\nkind: Pod", "\ud800",
    ],
)  # fmt: skip
def test_no_name_changes_what_the_manifest_says(name: str) -> None:
    """Words of YAML, other alphabets, and what somebody might try: names fit Kubernetes' rules, texts stay texts."""
    package = replace(PACKAGE, name=name, kubernetes=Workload(run=SMALL, serve=SMALL))
    (job,), (deployment, service) = documents(kubernetes.jobs(package)), documents(kubernetes.services(package))
    assert [one["kind"] for one in (job, deployment, service)] == ["Job", "Deployment", "Service"]
    for document in (job, deployment, service):
        assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
        written = document["metadata"]["name"]
        assert isinstance(written, str)
        assert 1 <= len(written) <= 50
        assert written.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
        assert written[0].isalpha() and written[-1] != "-"
    assert pod_of(job)["containers"][0]["command"] == [command_of(name)]


def test_different_commands_have_different_names() -> None:
    """Also where only what Kubernetes does not take tells them apart."""
    commands = ["données", "donnees", "donn-es", "A", "a", "x" * 60, "x" * 61, "包", "袋"]
    assert len({kubernetes.name_of(command) for command in commands}) == len(commands)
