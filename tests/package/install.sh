#!/bin/sh
# Installs what builds the package and boots it: those tools that are missing only. None of them is a service.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# command:package
tools='dpkg-buildpackage:dpkg-dev dh:debhelper lintian:lintian mmdebstrap:mmdebstrap systemd-nspawn:systemd-container
	arch-test:arch-test piuparts:piuparts zstd:zstd ip:iproute2 man:man-db'

missing=
for tool in $tools; do
	command -v "${tool%%:*}" >/dev/null 2>&1 || missing="$missing ${tool##*:}"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null 2>&1 || { echo "install.sh: missing:$missing; this is not a Debian" >&2; exit 1; }
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || { echo "install.sh: missing:$missing; run this as root or install sudo" >&2; exit 1; }
	exec sudo "$0" "$@"
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $missing >/dev/null
