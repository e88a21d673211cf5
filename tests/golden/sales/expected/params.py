"""The notebook's `parameters` cell: each field is an option of the command line."""

from pydantic import BaseModel, ConfigDict, Field


class Params(BaseModel):
    """What may change from run to run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(default="data/sales.csv", description="one row a sale")
    n_best: int = 3
