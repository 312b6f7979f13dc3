#!/usr/bin/env bash
# `docker build` that reaches the network as this machine's apt does, through its proxy too; nothing of it stays in the
# image. The arguments are those of `docker build`.
#
# No dangling layer is left: what a build stage ends in, what a failed build made, and the image that a rebuild replaced
# are removed, of images with our label alone. Where several build at once the last one does it: what another build
# stands on is dangling too.
set -euo pipefail

if command -v apt-config >/dev/null; then
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    [[ -z ${http_proxy:-} ]] || export http_proxy
    [[ -z ${https_proxy:-} ]] || export https_proxy
fi
exec 9>>"${TMPDIR:-/tmp}/armstream-build.lock"
flock --shared 9
trap 'flock --exclusive --nonblock 9 && docker image prune --force --filter label=org.armstream.image >/dev/null' EXIT
timeout 900 docker build --network host --force-rm \
    --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy "$@"
