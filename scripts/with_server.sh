#!/usr/bin/env bash
# Starts the demo, or a server with nothing in it, on free ports with a folder of its own; runs a command with TARN_URL set, and
# stops the server. Usage: TARN_BIN=path/to/tarn scripts/with_server.sh demo|empty command ...
set -euo pipefail

READY_SECONDS_MAX=${TARN_TEST_READY_SECONDS:-90}
case ${1:-} in
demo) what=(demo) ;;
empty) what=(up) ;;
*) echo "which server? demo or empty" >&2; exit 2 ;;
esac
shift
folder=$(mktemp -d)
mkdir -p "$folder/project/resources"
read -r http pgwire flight < <(python3 - <<'PYTHON'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
)

"$TARN_BIN" "${what[@]}" --no-browser --project "$folder/project" --data "$folder/data" --http "127.0.0.1:$http" --pgwire "127.0.0.1:$pgwire" \
    --flight "127.0.0.1:$flight" </dev/null >"$folder/log" 2>&1 &
server=$!
stop() {
    local status=$?
    kill -TERM "$server" 2>/dev/null || true
    # A stop takes at most the ten seconds of open requests; one that hangs is cut off and shows in the log.
    { sleep 20 && kill -KILL "$server" 2>/dev/null; } &
    local watchdog=$!
    wait "$server" 2>/dev/null || true
    kill "$watchdog" 2>/dev/null || true
    if ((status)); then
        echo "-- the server's last words:"
        tail -n 40 "$folder/log"
    fi
    rm -rf "$folder"
    exit "$status"
}
trap stop EXIT

export TARN_URL=http://127.0.0.1:$http TARN_TEST_PGWIRE_PORT=$pgwire TARN_TEST_FLIGHT_PORT=$flight
for ((waited = 0; ; waited++)); do
    python3 -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)" "$TARN_URL/readyz" \
        2>/dev/null && break
    kill -0 "$server" 2>/dev/null || { echo "the server ended before it was ready"; exit 1; }
    ((waited < READY_SECONDS_MAX)) || { echo "the server was not ready after $READY_SECONDS_MAX s"; exit 1; }
    sleep 1
done
"$@"
