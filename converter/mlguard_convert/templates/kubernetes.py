"""The manifests of --k8s: a job that runs the package, and a service for its functions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from mlguard_convert.package import Package
from mlguard_convert.workloads import Resources, Workload
from mlguard_nb.units import format_bytes

__all__ = ["jobs", "name_of", "services"]

_NOBODY = 65534  # the user `nobody` of the image


def jobs(package: Package) -> str:
    """Each notebook as a job that runs once, on its data."""
    return _documents([_job(package, part, part.kubernetes) for part in _parts(package) if part.kubernetes])


def services(package: Package) -> str:
    """Each notebook with functions as a deployment and the service in front of it; "" where there is none."""
    found: list[str] = []
    for part in _parts(package):
        load = part.kubernetes
        if load is not None and load.serve is not None:
            found += [_deployment(package, part, load, load.serve), _service(part)]
    return _documents(found)


def name_of(command: str) -> str:
    """A name that Kubernetes takes (RFC 1035): small letters, digits and dashes, a letter first, 50 at most."""
    name = re.sub(r"[^a-z0-9]+", "-", command.lower()).strip("-")
    if name == command and name[:1].isalpha() and len(name) <= 50:
        return name
    mark = hashlib.sha256(command.encode("utf-8", "backslashreplace")).hexdigest()[:6]
    name = name.lstrip("0123456789-")[:40].strip("-")
    return f"{name or 'package'}-{mark}"


def _parts(package: Package) -> Sequence[Package]:
    return package.parts or (package,)


def _documents(texts: Sequence[str]) -> str:
    return "---\n".join(texts)


def _job(package: Package, part: Package, load: Workload) -> str:
    name = _text(name_of(part.command))
    return f"""apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/component: run}}
spec:
  backoffLimit: 0  # the steps that may be tried again say so themselves
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/component: run}}
    spec:
      restartPolicy: Never
{_pod()}
      containers:
        - name: run
          image: {_image(package)}
          command: [{_text(part.command)}]
          args: ["run", "--base-dir", "/data", "--save", "/data/results", "--json-logs"]
{_container(part, load.run)}
{_volumes(package)}
"""


def _deployment(package: Package, part: Package, load: Workload, resources: Resources) -> str:
    name = _text(name_of(part.command))
    source = ', "--from", "/data/results"' if load.from_results else ""
    wait = "  # they need what the job has saved" if load.from_results else ""
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/component: serve}}
spec:
  replicas: 1
  selector:
    matchLabels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/component: serve}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/component: serve}}
      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "8000", prometheus.io/path: /metrics}}
    spec:
{_pod()}
      containers:
        - name: serve
          image: {_image(package)}
          command: [{_text(part.command)}]
          args: ["serve", "--host", "0.0.0.0", "--port", "8000"{source}]{wait}
          ports:
            - {{name: http, containerPort: 8000}}
          startupProbe:  # the imports take a while
            httpGet: {{path: /health, port: http}}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {{path: /health, port: http}}
            periodSeconds: 10
            timeoutSeconds: 5
          readinessProbe:  # 503 under memory pressure: requests go elsewhere until there is room again
            httpGet: {{path: /ready, port: http}}
            periodSeconds: 5
            timeoutSeconds: 5
{_container(part, resources)}
{_volumes(package)}
"""


def _service(part: Package) -> str:
    name = _text(name_of(part.command))
    return f"""apiVersion: v1
kind: Service
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {name}}}
spec:
  selector: {{app.kubernetes.io/name: {name}, app.kubernetes.io/component: serve}}
  ports:
    - {{name: http, port: 80, targetPort: http}}
"""


def _pod() -> str:
    return f"""\
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: {_NOBODY}
        fsGroup: {_NOBODY}
        seccompProfile: {{type: RuntimeDefault}}"""


def _container(part: Package, resources: Resources) -> str:
    said = "  # a guess: the notebook names no size; say need=2GB, mem=4GB" if resources.is_guess else ""
    gpus = f', nvidia.com/gpu: "{resources.gpus}"' if resources.gpus else ""
    return f"""\
          env:
            - {{name: MLGUARD_ENV, value: production}}
            - {{name: HOME, value: /tmp}}{_secrets(part)}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: ["ALL"]}}
          resources:{said}
            requests: {{cpu: "1", memory: {_size(resources.request)}}}
            limits: {{memory: {_size(resources.limit)}{gpus}}}
          volumeMounts:
            - {{name: data, mountPath: /data}}
            - {{name: tmp, mountPath: /tmp}}"""


def _secrets(part: Package) -> str:
    """The variables of its secrets, each from the key of its name in the Kubernetes secret named like the command."""
    source = _text(name_of(part.command))
    return "".join(
        f"\n            - {{name: {name}, valueFrom: {{secretKeyRef: "
        f"{{name: {source}, key: {name}, optional: {'false' if is_needed else 'true'}}}}}}}"
        for name, is_needed in part.secrets.items()
    )


def _volumes(package: Package) -> str:
    return f"""\
      volumes:
        - name: data
          persistentVolumeClaim: {{claimName: {_text(name_of(package.command) + "-data")}}}
        - name: tmp
          emptyDir: {{}}"""


def _image(package: Package) -> str:
    return _text(f"{name_of(package.command)}:0.1.0")


def _size(count: int) -> str:
    """Bytes as Kubernetes writes them: 12G, 512Mi, 12345; its letter for 1000 is a small k."""
    return _text(re.sub("K$", "k", format_bytes(count).removesuffix("B")))


def _text(value: str) -> str:
    """A YAML string: what JSON writes, of which YAML reads every word as text."""
    return json.dumps(value)
