#!/usr/bin/env bash
# Starts a PostgreSQL of its own on a free port, runs a command with TARN_BENCH_POSTGRES set, and stops it.
# Usage: scripts/with_postgres.sh command ...
set -euo pipefail

bin=${TARN_TEST_POSTGRES_BIN:-/usr/lib/postgresql/15/bin}
folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
# PostgreSQL refuses to run as root.
as_owner=()
if ((EUID == 0)); then
    chown postgres "$folder"
    as_owner=(setpriv --reuid postgres --regid postgres --clear-groups)
fi
stop() {
    local status=$?
    "${as_owner[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate -s stop || true
    rm -rf "$folder"
    exit "$status"
}
trap stop EXIT
cd "$folder"
"${as_owner[@]}" "$bin/initdb" --auth=trust --username=postgres --encoding=UTF8 --no-instructions -D data >initdb.log
"${as_owner[@]}" "$bin/pg_ctl" -D data -l log -s -w -t 60 start -o "-p $port -k $folder -c listen_addresses=127.0.0.1 \
    -c wal_level=logical -c shared_buffers=1GB -c max_wal_size=8GB -c max_wal_senders=10 -c max_replication_slots=10"
cd "$OLDPWD"
export TARN_BENCH_POSTGRES=postgres://postgres@127.0.0.1:$port/postgres
"$@"
