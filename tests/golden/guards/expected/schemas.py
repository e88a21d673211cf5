"""Schemas declared or learned in the notebook."""

from mlguard_nb import Array

Batch = Array("b 2", ge=0)
