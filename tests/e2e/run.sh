#!/usr/bin/env bash
# End-to-end tests against a built binary. Usage: TARN_BIN=path/to/tarn tests/e2e/run.sh [pytest arguments]
#
# scripts/setup.sh test makes the Python environment. With `-m long` the runs that take minutes; with `-n 2` two files at a
# time, each with servers of its own, and what they say comes at the end.
set -euo pipefail
source "$(dirname "$0")/../../scripts/environment.sh"
export TARN_BIN=${TARN_BIN:-$CARGO_TARGET_DIR/debug/tarn}
TARN_BIN=$(realpath -- "$TARN_BIN")
cd tests/e2e
said=(-s)
for argument in "$@"; do [[ $argument != -n ]] || said=(-rP --dist loadfile); done
exec "$TARN_VENV/bin/python" -B -m pytest -q --color=no "${said[@]}" "$@"
