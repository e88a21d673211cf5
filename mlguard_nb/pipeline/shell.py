"""Shell lines of the notebook: off unless somebody allowed them."""

from __future__ import annotations

import logging
import os
import subprocess

__all__ = ["SWITCH", "shell"]

SWITCH = "MLGUARD_ALLOW_SHELL"
_LOG = logging.getLogger(__name__)


def shell(command: str, *, allowed: bool = False, show: bool = True) -> list[str]:
    """Run `command` in the system's shell as the notebook's `!command` did, and return its lines of output.

    It runs only with `allowed` (exported with --allow-shell) or with MLGUARD_ALLOW_SHELL=1 in the environment;
    otherwise it is skipped with a warning and there are no lines. `show` prints the output too, as a notebook does.
    As there, a command that fails raises nothing; its exit status is logged.
    """
    if not (allowed or os.environ.get(SWITCH, "").lower() in ("1", "true", "yes")):
        _LOG.warning("skipped the shell line %r: shell lines are off; set %s=1 to run them", command, SWITCH)
        return []
    done = subprocess.run(
        command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if show and done.stdout:
        print(done.stdout, end="")  # noqa: T201
    if done.returncode:
        _LOG.warning("the shell line %r ended with status %s", command, done.returncode)
    return done.stdout.splitlines()
