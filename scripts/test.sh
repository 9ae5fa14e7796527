#!/usr/bin/env bash
# Runs checks and tests, each step with its time. Usage: scripts/test.sh all|rust|web|lint|e2e
#
# A step that fails does not stop the next ones; the summary at the end says which failed, and the exit status is theirs.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

LOGS=${TARN_TEST_LOGS:-$TARN_CACHE/test-logs}
BINARY=$CARGO_TARGET_DIR/debug/tarn
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

setup() { scripts/setup.sh test; }
format() { cargo fmt --all -- --check; }
tidy() { cargo xtask tidy; }
examples() { "$TARN_VENV/bin/python" scripts/check_examples.py; }

# The binary embeds web/dist, so it has to be there before anything of Rust is compiled.
console_build() { (cd web && npm run build); }
console_check() { (cd web && npm run check); }
console_unit() { (cd web && npm test -- --reporter=default); }

clippy() { cargo clippy --workspace --all-targets --locked -- -D warnings; }
rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --locked --no-fail-fast
        cargo test --workspace --locked --no-fail-fast --doc
    else
        cargo test --workspace --locked --no-fail-fast
    fi
}
build_binary() { cargo build --workspace --locked; }
reference() { TARN_BIN=$BINARY cargo xtask generate --check; }
# Each page in both languages and themes on made-up data, which has every state; the life of a table on the binary; then
# each page on the binary with real data.
console_e2e_mock() {
    local shell=/usr/bin/chromium-headless-shell
    [[ ! -x $shell ]] || export CHROMIUM=${CHROMIUM:-$shell}
    (cd web && npm run e2e)
}
console_e2e_real() { TARN_BIN=$BINARY scripts/with_server.sh empty node --test web/e2e/real.test.js; }
console_e2e_demo() { TARN_BIN=$BINARY scripts/with_server.sh demo npm --prefix web run e2e; }
# Tests wait for servers and for time to pass more than they compute.
end_to_end() { TARN_BIN=$BINARY tests/e2e/run.sh -n 2; }

if [[ ${1:-} == --step ]]; then
    "$2"
    exit
fi

NAMES=() RESULTS=() TIMES=()
failed=0
step() { # step FUNCTION TITLE; its output is kept, and the step has a shell of its own so that any failing line ends it
    local start=$SECONDS result=ok log=$LOGS/$1.log
    printf '\n== %s\n' "$2"
    # The test script is no interactive program: nothing may wait for an answer.
    if ! bash "$0" --step "$1" </dev/null 2>&1 | tee "$log"; then
        result=FAILED failed=1
    fi
    NAMES+=("$2") RESULTS+=("$result") TIMES+=($((SECONDS - start)))
    [[ $result == ok ]]
}

lint_steps() {
    step format "format of Rust" || true
    step tidy "layers, fences, sizes, pages" || true
}
console_steps() {
    step console_build "console: build" || true
    step console_check "console: types and lint" || true
    step console_unit "console: unit tests" || true
}
rust_steps() {
    mkdir -p web/dist
    step clippy "clippy, warnings denied" || true
    step rust_tests "Rust tests" || true
}

# On the built binary, with real servers and browsers. e2e_steps PART
e2e_steps() {
    step console_e2e_mock "console: browser tests on made-up data" || true
    if step build_binary "binary for end-to-end tests"; then
        step reference "generated reference" || true
        step console_e2e_real "console: a table's life on a real server" || true
        # Not in `all`: the query that one of them cancels stops a server on two cores from answering, and they take nine minutes.
        [[ $1 != e2e ]] || step console_e2e_demo "console: browser tests on the demo" || true
        step end_to_end "end-to-end tests" || true
    fi
}

summary() {
    local i total=0
    printf '\n== times\n'
    for i in "${!NAMES[@]}"; do
        printf '%7s  %4d:%02d  %s\n' "${RESULTS[i]}" $((TIMES[i] / 60)) $((TIMES[i] % 60)) "${NAMES[i]}"
        total=$((total + TIMES[i]))
    done
    printf '%7s  %4d:%02d  %s\n' "" $((total / 60)) $((total % 60)) "together"
    printf '\n== tests\n'
    # Lines as the runners print them: vitest, nextest, cargo test, the browser tests.
    cat "$LOGS"/{console_unit,console_e2e_mock,console_e2e_real,console_e2e_demo,end_to_end,rust_tests}.log 2>/dev/null |
        sed 's/\x1b\[[0-9;]*m//g' |
        grep -E '^ *(Tests|Test Files) |^ *Summary \[|^[^ ]+ (tests|pass|fail) [0-9]+$|^[0-9]+ (passed|failed)' || true
    cat "$LOGS"/rust_tests.log 2>/dev/null | awk '
        /^test result: / { for (i = 1; i < NF; i++) {
            if ($(i + 1) ~ /^passed/) passed += $i
            if ($(i + 1) ~ /^failed/) failures += $i
            if ($(i + 1) ~ /^ignored/) ignored += $i } binaries++ }
        END { if (binaries) printf "test result: %s. %d passed; %d failed; %d ignored; in %d test binaries\n",
              failures ? "FAILED" : "ok", passed, failures, ignored, binaries }'
}

rm -rf "$LOGS" && mkdir -p "$LOGS"
trap summary EXIT
step setup "what tests need" || exit 1
case ${1:-all} in
all) lint_steps; console_steps; rust_steps; step examples "questions of the example" || true; e2e_steps all ;;
rust) rust_steps ;;
web) console_steps ;;
lint) lint_steps; mkdir -p web/dist; step clippy "clippy, warnings denied" || true ;;
e2e) step console_build "console: build" || true; e2e_steps e2e ;;
*) echo "unknown part '$1': all, rust, web, lint or e2e" >&2; exit 2 ;;
esac
exit $failed
