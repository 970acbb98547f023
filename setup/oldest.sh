#!/bin/sh
# Passes the tests with the oldest versions that pyproject.toml allows. Further arguments go to pytest.
# FOSP_EDGE_PYTHON chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
ENVIRONMENT="$PWD/.venv/oldest"
"${FOSP_EDGE_PYTHON:-python3.10}" -m venv --clear "$ENVIRONMENT"
# The CPU version of torch is the exact one of ./test: older ones bring gigabytes of CUDA libraries.
"$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check uv "torch==2.13.0"
extras=simulation,visualisation,learning,export,calibration,cameras,mcap,datasets,safety-gym,test
"$ENVIRONMENT/bin/uv" pip install -q --python "$ENVIRONMENT/bin/python" --resolution lowest-direct -e ".[$extras]" "torch==2.13.0"
"$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check --no-deps "safety-gymnasium==1.0.0"
# The oldest mcap packages bring a package `tests`, which hides these.
rm -rf "$ENVIRONMENT"/lib/python3*/site-packages/tests
exec "$ENVIRONMENT/bin/python" -m pytest "$@"
