#!/usr/bin/env bash
# The base of local images where none can be pulled: Debian bookworm, made by debootstrap as armstream-base:bookworm.
# Packages come from where this machine's apt gets its own, during `docker build` too. Needs root and apt-get.
set -euo pipefail

suite=bookworm
image=armstream-base:$suite

if docker image inspect "$image" >/dev/null 2>&1; then
    exit 0
fi
echo "docker: making the base image $image with debootstrap (100 MB to fetch, a minute, once)"
export DEBIAN_FRONTEND=noninteractive
if ! command -v debootstrap >/dev/null; then
    timeout 300 apt-get -qq update
    timeout 300 apt-get -qq install --yes --no-install-recommends debootstrap debian-archive-keyring >/dev/null
fi

# Where apt gets Debian from; nothing on another distribution: then debootstrap's own mirror.
repository_of() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' |
        awk -v security="$1" '/^http:/ && ($2 ~ /-security$/) == security { print $1; exit }'
}
mirror=$(repository_of 0)
security=$(repository_of 1)
eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
[[ -z ${http_proxy:-} ]] || export http_proxy

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
if ! timeout 600 debootstrap --variant=minbase "$suite" "$root" ${mirror:+"$mirror"} >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    exit 1
fi

if [[ -n $mirror ]]; then
    {
        echo "deb $mirror $suite main"
        echo "deb $mirror $suite-updates main"
        [[ -z $security ]] || echo "deb $security $suite-security main"
    } >"$root/etc/apt/sources.list"
fi
# A mirror that stands still is known to this machine's apt, and is the image's mirror too.
apt-config dump Acquire::Check-Valid-Until Acquire::Check-Date >"$root/etc/apt/apt.conf.d/50mirror"
cat >"$root/etc/dpkg/dpkg.cfg.d/small" <<'END'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
END
echo 'APT::Install-Recommends "false";' >"$root/etc/apt/apt.conf.d/50small"
find "$root"/usr/share/{doc,man,locale} ! -type d ! -name copyright -delete
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*
tar --directory "$root" --numeric-owner --create . |
    docker import --change 'CMD ["bash"]' --message "debootstrap $suite" - "$image" >/dev/null
