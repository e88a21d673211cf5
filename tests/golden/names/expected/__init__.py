"""Результат."""

from names.pipeline import Results, run

__all__ = ["Results", "run"]
