"""What a package asks of a Kubernetes cluster, read from the policies of its steps and functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlguard_convert.plan import Plan
    from mlguard_nb.policy.values import GuardPolicy

__all__ = ["Resources", "Workload", "workload_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Memory in bytes and GPUs. `is_guess`: no policy names a size in bytes."""

    request: int
    limit: int
    gpus: int = 0
    is_guess: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`run` for the job; `serve` for the functions over HTTP, None where the notebook defines none.

    `from_results`: some functions need values that the job saves.
    """

    run: Resources
    serve: Resources | None = None
    from_results: bool = False


def workload_of(plan: Plan) -> Workload:
    """The package's job, and its service where it has functions to serve."""
    functions = [function for function in plan.functions if not function.is_class]
    of_functions = [function.policy for function in functions]
    of_steps = [policy for step in plan.steps for policy in step.policies]
    return Workload(
        run=_resources([*of_steps, *of_functions], unless_named=(2 * 2**30, 4 * 2**30)),
        serve=_resources(of_functions, unless_named=(2**30, 2 * 2**30)) if functions or plan.shared else None,
        from_results=any(function.takes for function in functions),
    )


def _resources(policies: Iterable[GuardPolicy | None], *, unless_named: tuple[int, int]) -> Resources:
    """Steps run one after the other, so the largest counts. need= is asked for, mem= in bytes is the limit.

    A share (mem=0.8) is one of the limit, and names no size.
    """
    memories = [policy.memory for policy in policies if policy is not None and policy.memory is not None]
    needs = [one.need for one in memories if isinstance(one.need, int)]
    limits = [one.ram for one in memories if isinstance(one.ram, int)]
    request, limit = unless_named
    if limits:
        limit = max(*limits, *needs) if needs else max(limits)
        request = max(needs) if needs else limit
    elif needs:
        request = max(needs)
        limit = max(limit, 2 * request)
    gpus = [
        one.device + 1 if isinstance(one.device, int) else 1  # an index counts the devices that the container sees
        for one in memories
        if one.gpu is not None or one.device is not None
    ]
    return Resources(request=request, limit=limit, gpus=max(gpus, default=0), is_guess=not needs and not limits)
