"""Sales by shop: which shops sell most."""

from sales.params import Params
from sales.pipeline import Results, run

__all__ = ["Params", "Results", "run"]
