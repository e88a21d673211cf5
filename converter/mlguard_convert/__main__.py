"""`python -m mlguard_convert`: the same command as `mlguard-nb`."""

from mlguard_convert.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
