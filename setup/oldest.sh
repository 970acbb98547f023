#!/bin/sh
# Passes the tests with the oldest versions that pyproject.toml allows. Further arguments go to pytest.
# FOSP_EDGE_PYTHON chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
. ./setup/environment.sh
ENVIRONMENT="$PWD/.venv/oldest"
"${FOSP_EDGE_PYTHON:-python3.10}" -m venv --clear "$ENVIRONMENT"
"$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check uv "$TORCH"
"$ENVIRONMENT/bin/uv" pip install -q --python "$ENVIRONMENT/bin/python" --resolution lowest-direct -e ".[$ALL_EXTRAS]" "$TORCH"
"$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check --no-deps "$SAFETY_GYMNASIUM"
# The oldest mcap packages bring a package `tests`, which hides these.
rm -rf "$ENVIRONMENT"/lib/python3*/site-packages/tests
exec "$ENVIRONMENT/bin/python" -m pytest "$@"
