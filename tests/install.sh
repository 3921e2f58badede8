#!/bin/sh
# Installs the Debian packages that the demo and the tests run, those that are missing only, and starts nothing:
# no service runs because of this, neither now nor after the next boot. Others may be named: command:package.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# command:package
tools='ip:iproute2 nft:nftables conntrack:conntrack conntrackd:conntrackd keepalived:keepalived
	dbus-daemon:dbus-daemon ping:iputils-ping'" $*"

missing=
for tool in $tools; do
	command -v "${tool%%:*}" >/dev/null 2>&1 || missing="$missing ${tool##*:}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "install.sh: missing:$missing; this is not a Debian, install them by hand" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || { echo "install.sh: missing:$missing; run this as root or install sudo" >&2; exit 1; }
	exec sudo "$0" "$@"
fi

# While this file says 101, Debian's packages do not start their services (policy-rc.d in
# /usr/share/doc/init-system-helpers). A machine's own is put back.
policy=/usr/sbin/policy-rc.d
kept=
restore() {
	rm -f "$policy"
	[ -z "$kept" ] || mv "$kept" "$policy"
}
trap restore EXIT
trap 'exit 130' INT TERM HUP
if [ -e "$policy" ] || [ -L "$policy" ]; then
	kept=$policy.kept.$$
	mv "$policy" "$kept"
fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $missing >/dev/null

for package in $missing; do
	case $package in
	keepalived | conntrackd | prometheus)
		if command -v systemctl >/dev/null 2>&1; then systemctl --quiet disable "$package" 2>/dev/null || true; fi
		;;
	esac
done
