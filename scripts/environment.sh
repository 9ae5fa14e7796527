# Where builds and tests keep what outlives a checkout. Sourced by the other scripts; every value may be set from outside.
TARN_CACHE=${TARN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarn}
# Outside of the checkout, so that a fresh clone builds on what is there.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TARN_CACHE/target}
TARN_VENV=${TARN_VENV:-$TARN_CACHE/venv}
export TARN_CACHE TARN_VENV
# rustup does not change the PATH of a shell that is already open.
[[ ":$PATH:" == *":$HOME/.cargo/bin:"* || ! -d $HOME/.cargo/bin ]] || export PATH="$HOME/.cargo/bin:$PATH"
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
