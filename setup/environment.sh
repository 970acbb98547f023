# Sourced by ./run and ./test: makes a virtual environment of their own with what they need, once.
#   prepare NAME EXTRAS    environment .venv/NAME with the package (editable) and the named extras; `all`: everything
#                          the tests use, with the CPU build of torch
# FOSP_EDGE_PYTHON chooses the interpreter. On a machine with an NVIDIA card, set FOSP_EDGE_TORCH=torch for its build;
# elsewhere PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves gigabytes.

# All that the tests use. Of torch the exact CPU version: a plain requirement brings several gigabytes of CUDA libraries.
ALL_EXTRAS=simulation,visualisation,learning,export,calibration,cameras,mcap,datasets,safety-gym,test
TORCH="${FOSP_EDGE_TORCH:-torch==2.13.0}"
# Its own requirements do not resolve any more; what it needs is in the extra `safety-gym`.
SAFETY_GYMNASIUM="safety-gymnasium==1.0.0"

install_packages() { # Debian packages, with sudo where it is needed
    if [ "$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
    else sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null; fi
}

prepare() {
    ENVIRONMENT="$PWD/.venv/$1"
    PYTHON="${FOSP_EDGE_PYTHON:-python3}"
    # What the environment was made for: the project's requirements, its extras and the interpreter.
    wanted="$2 $("$PYTHON" --version 2>&1) $(cksum < pyproject.toml)"
    [ "$(cat "$ENVIRONMENT/.made-for" 2>/dev/null || true)" = "$wanted" ] && return
    echo "setting up $ENVIRONMENT ..." >&2
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        command -v apt-get >/dev/null || { echo "Python's venv module is missing; install it and try again" >&2; exit 1; }
        echo "installing python3-venv (needs root once) ..." >&2
        install_packages python3-venv python3-pip
    fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "Python 3.10 or newer is needed, found $("$PYTHON" --version); set FOSP_EDGE_PYTHON to a newer one" >&2; exit 1; }
    "$PYTHON" -m venv --clear "$ENVIRONMENT"
    "$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check --upgrade pip
    if [ "$2" = all ]; then
        "$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check "$TORCH"
        extras=$ALL_EXTRAS
        # Wheels of librealsense exist for some interpreters only; its tests are skipped without it.
        "$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check "pyrealsense2>=2.55" 2>/dev/null || true
        "$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check --no-deps "$SAFETY_GYMNASIUM"
    else
        extras=$2
    fi
    "$ENVIRONMENT/bin/python" -m pip install -q --disable-pip-version-check -e ".[$extras]"
    echo "$wanted" > "$ENVIRONMENT/.made-for"
}
