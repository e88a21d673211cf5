"""`sales`, or `python -m sales`: `run` the pipeline, with one option for each parameter."""

from sales.params import Params
from sales.pipeline import run

from mlguard_nb.pipeline import command_line

main = command_line(run, Params)

if __name__ == "__main__":
    raise SystemExit(main())
