#!/usr/bin/env bash
# `docker build` that reaches the network as this machine's apt does, through its proxy too; nothing of it stays in the
# image. The arguments are those of `docker build`.
set -euo pipefail

if command -v apt-config >/dev/null; then
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    [[ -z ${http_proxy:-} ]] || export http_proxy
    [[ -z ${https_proxy:-} ]] || export https_proxy
fi
exec timeout 900 docker build --network host --force-rm \
    --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy "$@"
