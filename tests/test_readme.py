"""The README's Python runs as it stands, and the commands it names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_pages import LANGUAGES, blocks, run_page

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_every_python_block_runs_in_order(tmp_path: Path) -> None:
    """A reader who pastes the blocks one after the other sees what the text promises."""
    assert len(PYTHON) >= 2
    script = tmp_path / "tour.py"
    script.write_text("\n".join(PYTHON))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("101.5\n3\n")
    assert "score rejected its input" in done.stdout


@pytest.mark.kernel
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    """The cells, the exports and the package of the tour are real."""
    assert {language for language, _ in blocks(README)} <= set(LANGUAGES)
    assert run_page(README, tmp_path) == ""


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)", README))))
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*  ## ", makefile, flags=re.MULTILINE), f"make {target} is not in `make help`"


def test_every_guard_line_of_the_readme_parses() -> None:
    from mlguard_nb.policy.directive import parse

    lines = re.findall(r"^%%guard (.*)$", README, flags=re.MULTILINE)
    assert lines
    for line in lines:
        assert parse(line).policy.parts()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
