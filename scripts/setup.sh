#!/usr/bin/env bash
# Installs what is missing and says what and why. Usage: scripts/setup.sh run|test|spark|dist
#
# Looks first and installs only what is not there, so a second run does nothing and needs no network.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

RUST_MIN=1.94
NODE_MIN=20.19

fail() { printf '\nsetup: %s\n' "$*" >&2; exit 1; }
version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1) == "$2" ]]; }

require_toolchains() {
    command -v cargo >/dev/null ||
        fail "no Rust toolchain. Install one, then run this again: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    local rust node
    rust=$(rustc --version | cut -d' ' -f2)
    version_at_least "$rust" "$RUST_MIN" || fail "Rust $rust is too old, $RUST_MIN is needed: rustup update stable"
    command -v node >/dev/null && command -v npm >/dev/null ||
        fail "no Node.js. Install version 20 or later from https://nodejs.org/en/download, then run this again"
    node=$(node --version)
    version_at_least "${node#v}" "$NODE_MIN" || fail "Node.js $node is too old, $NODE_MIN is needed"
}

MISSING=()
need() { # need PACKAGE WHY CHECK...
    local package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    MISSING+=("$package")
    printf 'setup: %-18s missing: %s\n' "$package" "$why"
}

has_cjk_font() { fc-list ':lang=zh' 2>/dev/null | grep -q . || [[ -d /usr/share/fonts/opentype/noto ]]; }
has_browser() { [[ -x ${CHROMIUM:-/usr/bin/chromium} ]]; }
# Draws pages in two thirds of the time; Debian alone has it, elsewhere the whole browser does its work.
has_headless_shell() { [[ -x /usr/bin/chromium-headless-shell ]] || ! grep -qx 'ID=debian' /etc/os-release; }
has_venv() { [[ -x $TARN_VENV/bin/python ]] || python3 -c 'import ensurepip, venv'; }
has_postgres() { ls "${TARN_TEST_POSTGRES_BIN:-/usr/lib/postgresql/15/bin}/initdb"; }

install_missing() {
    ((${#MISSING[@]})) || return 0
    command -v apt-get >/dev/null ||
        fail "this is no Debian or Ubuntu; install the equivalent of: ${MISSING[*]}"
    local as_root=()
    if ((EUID)); then
        command -v sudo >/dev/null || fail "run as root or install by hand: apt-get install ${MISSING[*]}"
        as_root=(sudo)
    fi
    if [[ " ${MISSING[*]} " == *" postgresql-15 "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
        # Only the programs are wanted: tests start their own servers, and no service should appear on 5432.
        "${as_root[@]}" mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    echo "setup: installing ${MISSING[*]}"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold)
    "${apt[@]}" update </dev/null >/dev/null || echo "setup: apt-get update failed, trying with the lists that are there" >&2
    "${apt[@]}" install --no-install-recommends "${MISSING[@]}" </dev/null ||
        fail "could not install ${MISSING[*]}; the lines above say why"
}

install_node_modules() {
    [[ -f web/package-lock.json ]] || return 0
    if [[ -f web/node_modules/.package-lock.json && ! web/package-lock.json -nt web/node_modules/.package-lock.json ]]; then
        return 0
    fi
    echo "setup: npm packages of the console (web/node_modules)"
    (cd web && npm ci --no-audit --no-fund </dev/null)
}

install_python() { # install_python LIST WHAT
    local wanted=scripts/$1.txt stamp=$TARN_VENV/.$1
    cmp -s "$wanted" "$stamp" && return 0
    echo "setup: Python packages of the tests ($TARN_VENV): $2"
    [[ -x $TARN_VENV/bin/python ]] || python3 -m venv "$TARN_VENV"
    "$TARN_VENV/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" </dev/null
    cp "$wanted" "$stamp"
}

purpose=${1:-run}
require_toolchains
need build-essential "C compiler and linker of SQLite, zstd and ring" command -v cc
need git "cargo xtask tidy asks it for the files" command -v git
case $purpose in
run) ;;
test | spark)
    need postgresql-15 "the database that the tests read from, and psql" has_postgres
    need chromium "the browser of the console's tests" has_browser
    need chromium-headless-shell "the same without a window, for the many pages" has_headless_shell
    need fonts-noto-cjk "Chinese letters in that browser" has_cjk_font
    need python3-venv "a place for the Python packages of the tests" has_venv
    [[ $purpose != spark ]] || need openjdk-17-jre-headless "the Java that Spark runs on" command -v java
    ;;
dist) need python3-venv "a place for maturin, which makes the wheel" has_venv ;;
*) fail "unknown purpose '$purpose': run, test, spark or dist" ;;
esac
install_missing
install_node_modules
case $purpose in test | spark)
    install_python requirements-test "DuckDB, PyIceberg, Polars, Daft, ClickHouse, ADBC and an S3 server, to compare with" ;;
esac
[[ $purpose != spark ]] || install_python requirements-spark "Spark, which is large"
