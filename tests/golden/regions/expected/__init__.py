"""Store: cells that must stay one step, some of them guarded."""

from regions.pipeline import Results, run

__all__ = ["Results", "run"]
