"""What `%guard schema` learned is in the notebook's output, and the exported package checks and measures with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlguard_nb import Reference
from tests.converter.running import convert
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.kernel

CELLS = (
    "import pandas as pd\npeople = pd.DataFrame({'age': [float(age) for age in range(20, 80)], 'code': ['AT'] * 60})",
    "%guard schema people --name People",
    "%%guard validate\nmean_age = people['age'].mean()",
    "print(mean_age)",
)


def test_the_export_has_schema_and_profile(kernel: Kernel, tmp_path: Path) -> None:
    """Saved as a front end saves it, without running anything again: a decorator, a schema, and the profile's file."""
    made = []
    for source in CELLS:
        answer = kernel.run(source)
        assert answer.error is None
        shown = [{"output_type": "display_data", "data": data, "metadata": {}} for data in answer.shown]
        made.append(
            {"cell_type": "code", "source": source, "outputs": shown, "metadata": {}, "execution_count": len(made) + 1}
        )
    path = tmp_path / "nb.ipynb"
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))

    _, modules = convert(path)

    assert "@validate_input(people=People, stats=PeopleProfile)" in modules["src/nb/steps.py"]
    assert 'People = Frame({"age": Col(float, seen=(20.0, 79.0)), "code": Col(str)})' in modules["src/nb/schemas.py"]
    assert '.with_name("people_profile.json")' in modules["src/nb/schemas.py"]
    profile = Reference.from_json(modules["src/nb/people_profile.json"])
    assert [(name, column.rows) for name, column in profile.columns] == [("age", 60)]
