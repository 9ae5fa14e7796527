#!/usr/bin/env bash
# Makes a wheel that installs the `tarn` command and a tarball with the binary, into dist/.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

MATURIN=1.16.0
venv=$TARN_CACHE/venv-dist
scripts/setup.sh dist
if [[ ! -x $venv/bin/maturin ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "maturin==$MATURIN" </dev/null
fi

version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
mkdir -p dist
"$venv/bin/maturin" build --release --locked --out dist </dev/null

# The wheel's binary is the one that cargo just built; the tarball takes the same.
name=tarn-$version-$(uname -m)-linux
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/$name/examples"
cp "$CARGO_TARGET_DIR/release/tarn" LICENSE README.md README.zh-CN.md CHANGELOG.md "$stage/$name/"
cp -r examples/flights "$stage/$name/examples/"
tar --sort=name --owner=0 --group=0 --numeric-owner -C "$stage" -czf "dist/$name.tar.gz" "$name"
(cd dist && sha256sum -- *.whl *.tar.gz >SHA256SUMS)
ls -lh dist
