"""Guards."""

from guards.pipeline import Results, run

__all__ = ["Results", "run"]
