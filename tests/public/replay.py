"""Run what a converter made, and write down every name it ends with: `python replay.py KIND PATH OUT`."""

from __future__ import annotations

import pickle
import re
import runpy
import sys
from pathlib import Path
from typing import Any

from mlguard_nb.pipeline.replaying import final_names

__all__ = ["main"]

_PARAMETERS = re.compile(r'(# %% tags=\["parameters"\]\n.*?)(?=\n# %%|\Z)', re.DOTALL)


def script(path: Path) -> dict[str, Any]:
    """A plain script, run as `python SCRIPT` runs it."""
    return runpy.run_path(str(path), run_name="__main__")


def marimo(path: Path) -> dict[str, Any]:
    """An app: its cells in the order of their dependencies."""
    _, names = runpy.run_path(str(path), run_name="app")["app"].run()
    return dict(names)


def soorgeon(folder: Path) -> dict[str, Any]:
    """The tasks of a pipeline one after the other, each with the products of those it depends on.

    The build tool would run each in a kernel of its own; here they share the process, which only saves time.
    """
    import yaml

    tasks = yaml.safe_load((folder / "pipeline.yaml").read_text(encoding="utf-8"))["tasks"]
    products = {Path(task["source"]).stem: task["product"] for task in tasks}
    products = {
        name: {key: str(folder / value) for key, value in product.items()} for name, product in products.items()
    }
    names: dict[str, Any] = {}
    sys.path.insert(0, str(folder))
    waiting = list(products)
    while waiting:
        for name in waiting:
            text = (folder / "tasks" / f"{name}.py").read_text(encoding="utf-8")
            found = re.search(r"^upstream = (.*)$", text, re.MULTILINE)
            upstream = (eval(found[1]) if found else None) or []
            if not any(one in waiting for one in upstream):
                break
        else:
            raise RuntimeError("its tasks wait for each other")
        waiting.remove(name)
        given = f"upstream = { ({one: products[one] for one in upstream})!r}\nproduct = {products[name]!r}\n"
        text = _PARAMETERS.sub(lambda match, given=given: f"{match[1]}\n{given}", text, count=1)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, name, "exec"), namespace)
        names.update(namespace)
    return {name: value for name, value in names.items() if name not in ("upstream", "product")}


def main() -> None:
    """Write what the product at PATH ends with to OUT, as a pickle of plain data."""
    kind, path, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    sys.argv[1:] = []
    found = {"script": script, "marimo": marimo, "soorgeon": soorgeon}[kind](path)
    out.write_bytes(pickle.dumps(final_names(found, ("__main__", "app")), protocol=5))


if __name__ == "__main__":
    main()
