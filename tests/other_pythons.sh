#!/bin/sh
# The tests of everything that must run without Jupyter, on each other supported interpreter of this machine.
set -eu
uv="${UV:-uv}"
main=$(.venvs/test/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)
ran=0
for version in 3.10 3.11 3.12 3.13; do
    [ "$version" = "$main" ] && continue
    python=""
    # A name on the PATH may be a shim that fails, so each candidate is run; pyenv keeps the real ones in its own folder.
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        if "$candidate" -c '' >/dev/null 2>&1; then python="$candidate"; break; fi
    done
    [ -n "$python" ] || { echo "Python $version: not on this machine"; continue; }
    venv=".venvs/py$version"
    echo "Python $version"
    "$uv" venv --quiet --clear --python "$python" "$venv"
    MLGUARD_SKIP_LABEXT=1 "$uv" pip install --quiet --python "$venv/bin/python" -r pyproject.toml \
        pytest pytest-timeout hypothesis cloudpickle anyio pandas polars redis prometheus-client opentelemetry-sdk fastapi httpx uvicorn
    PYTHONPATH=. "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/policy tests/runtime tests/devices tests/telemetry \
        tests/dataflow tests/pipeline tests/test_units.py tests/test_errors.py
    ran=$((ran + 1))
done
echo "$ran other interpreters passed"
