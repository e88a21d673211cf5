"""The notebook from top to bottom."""

from pathlib import Path
from typing import Any, TypedDict

from sales import functions, steps
from sales.params import Params

from mlguard_nb.pipeline import working_directory


class Results(TypedDict):
    """The names that the notebook ends with."""

    vat: Any
    sales: Any
    totals: Any
    top: Any
    share: Any


def run(params: Params | None = None, *, base_dir: str | Path | None = None) -> Results:
    """Run every step in the notebook's order; relative paths start at `base_dir` (default: the current folder)."""
    params = params or Params()
    with working_directory(base_dir):
        sales = steps.load_data(params.path)
        sales = steps.clean(sales)
        totals, top = steps.shops(sales, params.n_best)
        steps.plot_shops(totals)
        share = steps.shops_share(top, totals)
    return Results(vat=functions.vat, sales=sales, totals=totals, top=top, share=share)
