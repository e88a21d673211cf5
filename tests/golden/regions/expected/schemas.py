"""Schemas declared or learned in the notebook."""

from mlguard_nb import Array

Rows = Array("n d")
