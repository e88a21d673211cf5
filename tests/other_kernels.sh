#!/bin/sh
# The fidelity suite against kernels of other IPython and ipykernel versions; prints one matrix for each pair.
set -eu
uv="${UV:-uv}"
python="${PYTHON:-.venvs/test/bin/python}"
failed=0
for pair in "8.12.* 6.17.*" "8.* 6.*" "8.* 7.*" "9.* 6.*" "9.* 7.*"; do
    venv=".venvs/kernel-$(echo "$pair" | tr -d '.*' | tr ' ' '-')"
    if [ ! -f "$venv/.stamp" ]; then
        "$uv" venv --quiet --clear --python "$python" "$venv"
        MLGUARD_SKIP_LABEXT=1 "$uv" pip install --quiet --python "$venv/bin/python" -r pyproject.toml matplotlib \
            "ipython==${pair% *}" "ipykernel==${pair#* }"
        touch "$venv/.stamp"
    fi
    MLGUARD_KERNEL_PYTHON="$PWD/$venv/bin/python" .venvs/test/bin/python -m tests.notebook.fidelity 2>/dev/null || failed=1
done
exit "$failed"
