"""`guards`, or `python -m guards`: `run` the pipeline."""

from guards.pipeline import run

from mlguard_nb.pipeline import command_line

main = command_line(run)

if __name__ == "__main__":
    raise SystemExit(main())
