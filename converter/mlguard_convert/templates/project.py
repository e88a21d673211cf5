"""pyproject.toml, the lock file, the container and what is left out of it."""

from __future__ import annotations

import json

from mlguard_convert.package import Package

__all__ = ["dockerfile", "dockerignore", "job_manifest", "lock", "pyproject"]


def pyproject(package: Package) -> str:
    """The project's metadata, its command, and how its code is checked."""
    dependencies = "".join(f"    {_text(str(requirement))},\n" for requirement in package.requirements)
    major, minor = package.python
    return f"""[project]
name = {_text(package.name.replace("_", "-"))}
version = "0.1.0"
description = {_text(package.description)}
readme = "README.md"
requires-python = ">={major}.{minor}"
dependencies = [
{dependencies}]

[project.optional-dependencies]
serve = ["fastapi>=0.110", "mlguard-nb[prometheus]", "uvicorn>=0.29"]
test = ["pytest>=8"]

[project.scripts]
{package.name.replace("_", "-")} = "{package.name}.__main__:main"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/{package.name}"]

[tool.mlguard]
notebook = {_text(package.notebook)}

[tool.ruff]
line-length = 120
{_lint(package)}"""


def _lint(package: Package) -> str:
    if not package.lint_ignored:
        return ""
    reasons = "".join(f"# {code}: {why}\n" for code, why in sorted(package.lint_ignored.items()))
    codes = ", ".join(f'"{code}"' for code in sorted(package.lint_ignored))
    return f"\n[tool.ruff.lint]\n# The notebook's own style, kept as it is.\n{reasons}extend-ignore = [{codes}]\n"


def lock(package: Package) -> str:
    """The exact environment that the notebook was exported from."""
    return "".join(f"{line}\n" for line in package.locked)


def dockerfile(package: Package) -> str:
    """An image that runs the command; `wheels/` holds what no index has."""
    major, minor = package.python
    return f"""FROM python:{major}.{minor}-slim
WORKDIR /app
COPY requirements.lock pyproject.toml README.md ./
COPY wheels/ wheels/
COPY src/ src/
RUN pip install --no-cache-dir --find-links wheels -r requirements.lock && pip install --no-cache-dir --no-deps .
USER nobody
ENTRYPOINT ["{package.name.replace("_", "-")}"]
CMD ["run", "--base-dir", "/data"]
"""


def dockerignore() -> str:
    """Everything but what the image needs."""
    return "*\n!pyproject.toml\n!README.md\n!requirements.lock\n!src\n!wheels\n"


def job_manifest(package: Package) -> str:
    """A Kubernetes job that runs the image once, its data on a volume."""
    name = package.name.replace("_", "-")
    return f"""apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
spec:
  backoffLimit: 0  # the steps that may be tried again say so themselves
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: {name}
          image: {name}:0.1.0
          args: ["run", "--base-dir", "/data", "--json-logs"]
          env:
            - {{name: MLGUARD_ENV, value: production}}
          resources:
            requests: {{cpu: "1", memory: 2Gi}}
            limits: {{memory: 4Gi}}
          volumeMounts:
            - {{name: data, mountPath: /data}}
      volumes:
        - name: data
          persistentVolumeClaim: {{claimName: {name}-data}}
"""


def _text(value: str) -> str:
    """A TOML string: what JSON writes, without what TOML does not take raw."""
    clean = value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")
