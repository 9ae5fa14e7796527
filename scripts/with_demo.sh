#!/usr/bin/env bash
# Starts the demo on free ports with a data folder of its own, runs a command with TARN_URL set, and stops the demo.
# Usage: TARN_BIN=path/to/tarn scripts/with_demo.sh command ...
set -euo pipefail

READY_SECONDS_MAX=${TARN_TEST_READY_SECONDS:-90}
folder=$(mktemp -d)
read -r http pgwire flight < <(python3 - <<'PYTHON'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
)

"$TARN_BIN" demo --no-browser --data "$folder/data" --http "127.0.0.1:$http" --pgwire "127.0.0.1:$pgwire" \
    --flight "127.0.0.1:$flight" </dev/null >"$folder/log" 2>&1 &
demo=$!
stop() {
    local status=$?
    kill -TERM "$demo" 2>/dev/null || true
    # A stop takes at most the ten seconds of open requests; one that hangs is cut off and shows in the log.
    { sleep 20 && kill -KILL "$demo" 2>/dev/null; } &
    local watchdog=$!
    wait "$demo" 2>/dev/null || true
    kill "$watchdog" 2>/dev/null || true
    if ((status)); then
        echo "-- the demo's last words:"
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
    kill -0 "$demo" 2>/dev/null || { echo "the demo ended before it was ready"; exit 1; }
    ((waited < READY_SECONDS_MAX)) || { echo "the demo was not ready after $READY_SECONDS_MAX s"; exit 1; }
    sleep 1
done
"$@"
