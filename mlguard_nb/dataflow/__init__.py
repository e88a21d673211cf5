"""What a cell reads and writes, from its source alone: names, free names of functions, liveness over cells.

Standard library only, nothing is executed. The cell engine asks for a cell's live-ins, the converter for everything.
"""

from mlguard_nb.dataflow.facts import CellFacts, ImportedName, cell_facts, combine, statement_facts
from mlguard_nb.dataflow.liveness import Flow, live_ins, liveness
from mlguard_nb.dataflow.scopes import FreeNames, free_names

__all__ = [
    "CellFacts",
    "Flow",
    "FreeNames",
    "ImportedName",
    "cell_facts",
    "combine",
    "free_names",
    "live_ins",
    "liveness",
    "statement_facts",
]
