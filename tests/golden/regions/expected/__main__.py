"""`regions`, or `python -m regions`: `run` the pipeline."""

from regions.pipeline import run

from mlguard_nb.pipeline import command_line

main = command_line(run)

if __name__ == "__main__":
    raise SystemExit(main())
