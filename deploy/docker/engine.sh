#!/usr/bin/env bash
# Runs a command where a Docker engine answers: engine.sh COMMAND [ARGUMENT]...
# Debian's docker.io is installed where there is none (as root), and an engine that this started is stopped at the end.
set -euo pipefail

answers() {
    timeout 10 docker info >/dev/null 2>&1
}

if ! { command -v docker && command -v dockerd; } >/dev/null && ! answers; then
    echo "docker: installing Debian's docker.io"
    export DEBIAN_FRONTEND=noninteractive
    timeout 300 apt-get -qq update
    timeout 600 apt-get -qq install --yes --no-install-recommends docker.io >/dev/null
fi
if answers; then
    exec "$@"
fi

echo "docker: starting an engine"
log=$(mktemp)
dockerd >"$log" 2>&1 &
engine=$!
stop() {
    kill "$engine" 2>/dev/null || true
    wait "$engine" || true
    rm -f "$log"
}
trap stop EXIT
for _ in {1..60}; do
    answers && break
    if ! kill -0 "$engine" 2>/dev/null; then
        break
    fi
    sleep 1
done
if ! answers; then
    echo "docker: the engine does not answer; the end of its log:" >&2
    tail -n 30 "$log" >&2
    exit 1
fi
"$@"
