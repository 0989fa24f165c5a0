# shellcheck shell=bash
# Where every script ends: finds the interpreter and hands over to runs/scripts.py, which also lists what the scripts
# take from the environment. Arguments: FOLDER SCRIPT, then those of the script. Relative paths are the caller's.
set -euo pipefail

: "${PYTHON:=$(command -v python || echo python3)}"
[[ $PYTHON != */* || $PYTHON == /* ]] || PYTHON=$PWD/$PYTHON
export PYTHON
if ! command -v "$PYTHON" >/dev/null; then
    echo "error: there is no interpreter $PYTHON; set PYTHON, as in PYTHON=python3" >&2
    exit 2
fi
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "$PYTHON" -m runs.scripts "$caller" "$@"
