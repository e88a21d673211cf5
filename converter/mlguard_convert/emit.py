"""The modules of the package as text, from the plan alone."""

from __future__ import annotations

from collections.abc import Mapping

from mlguard_convert.plan import Plan
from mlguard_nb.errors import MissingExtra

__all__ = ["emit_modules", "shared_module"]


def emit_modules(plan: Plan, types: Mapping[str, str] | None = None) -> dict[str, str]:
    """Each module's path below the package's folder ("src/churn/steps.py") and its text, not yet formatted.

    `types` maps final names to the full names of the types they were seen with ("pandas.DataFrame"), and what went
    into and came out of steps ("train(table)", "train.model"); without it nothing is annotated but parameters.
    MissingExtra without libcst.
    """
    try:
        import libcst  # noqa: F401
    except ImportError as error:
        raise MissingExtra("converting notebooks", "convert") from error
    from mlguard_convert.emitting import pipeline, steps

    found = {
        "__init__.py": pipeline.init_module(plan),
        "__main__.py": pipeline.main_module(plan),
        "functions.py": steps.functions_module(plan, types),
        "params.py": pipeline.params_module(plan),
        "pipeline.py": pipeline.pipeline_module(plan, types),
        "schemas.py": pipeline.schemas_module(plan),
        "steps.py": steps.steps_module(plan, types),
        **{file.path: file.source for file in plan.vendor},
    }
    optional = ("functions.py", "params.py", "schemas.py")
    found |= {schema.profile_file: schema.profile for schema in plan.schemas if schema.profile}
    folder = f"src/{plan.package.replace('.', '/')}"
    return {f"{folder}/{path}": text for path, text in found.items() if text or path not in optional}


def shared_module(plan: Plan | None, types: Mapping[str, str] | None = None) -> str:
    """The text of shared.py, the functions that several notebooks define alike; "" without a plan of them."""
    if plan is None:
        return ""
    from mlguard_convert.emitting import steps

    return steps.functions_module(plan, types).replace("The notebook's", "What the notebooks share:", 1)
