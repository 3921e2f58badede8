#!/bin/sh
# Installs Debian's Prometheus for `make test-monitoring`, where it is missing, and starts nothing: no service runs
# because of this, neither now nor after the next boot.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

if command -v promtool >/dev/null 2>&1 && command -v prometheus >/dev/null 2>&1; then
	exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "install.sh: prometheus and promtool are missing; this is not a Debian, install them by hand" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || { echo "install.sh: run this as root or install sudo" >&2; exit 1; }
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

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends prometheus >/dev/null
if command -v systemctl >/dev/null 2>&1; then
	systemctl --quiet disable prometheus prometheus-node-exporter 2>/dev/null || true
fi
