#!/bin/sh
# Builds the Debian package of a revision of this checkout, from a tree of its own: what is not committed is not in it.
#
#   packaging/deb/build.sh [FOLDER]      ctsync_VERSION_ARCH.deb into FOLDER, default build/deb
#
# REVISION (default HEAD) is what is built, VERSION what it is called: by default the changelog's for the tag of that name,
# else one that sorts before it and after every earlier revision. The same revision gives the same bytes.
set -eu
cd "$(dirname "$0")/../.."

for tool in dpkg-buildpackage:dpkg-dev dh:debhelper; do
	command -v "${tool%%:*}" >/dev/null || { echo "build.sh: ${tool%%:*} is missing: apt-get install ${tool##*:}" >&2; exit 1; }
done

out=${1:-build/deb}
mkdir -p "$out"
out=$(cd "$out" && pwd)
revision=$(git rev-parse --verify --quiet "${REVISION:-HEAD}^{commit}")
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

mkdir "$work/src"
git archive "$revision" | tar -x -C "$work/src"
cp -a "$work/src/packaging/deb" "$work/src/debian"
cd "$work/src"

export SOURCE_DATE_EPOCH="$(git -C "$OLDPWD" log -1 --format=%ct "$revision")"
release=$(dpkg-parsechangelog -l debian/changelog -S Version)
if [ -z "${VERSION:-}" ]; then
	if git -C "$OLDPWD" tag --points-at "$revision" | grep -qx "v$release"; then
		VERSION=$release
	else
		VERSION=$release~$(date -u -d "@$SOURCE_DATE_EPOCH" +git%Y%m%d.%H%M%S).$(git -C "$OLDPWD" rev-parse --short=8 "$revision")
	fi
fi
if [ "$VERSION" != "$release" ]; then
	{
		printf 'ctsync (%s) unstable; urgency=medium\n\n  * Revision %s.\n\n' "$VERSION" "$revision"
		printf ' -- %s  %s\n\n' "$(sed -n 's/^Maintainer: //p' debian/control)" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
		cat debian/changelog
	} >debian/changelog.new
	mv debian/changelog.new debian/changelog
fi

# debhelper hides the home folder, where Go's caches are.
export GOCACHE="$(go env GOCACHE)" GOMODCACHE="$(go env GOMODCACHE)"
export LC_ALL=C.UTF-8
dpkg-buildpackage -b -us -uc >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$out"
ls "$out"/ctsync_"$VERSION"_*.deb
