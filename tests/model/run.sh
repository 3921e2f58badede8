#!/bin/sh
# Exhausts the states of the models beside it, one after the other, and plants faults to show that each claim can fail.
# Prints a table and the counterexample of each fault; ends with 1 if anything is other than it should be. Installs spin from
# Debian if it is missing. run.sh quick takes the smaller bounds only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../../build/model}

if ! command -v spin >/dev/null 2>&1 || ! command -v gcc >/dev/null 2>&1; then
	[ "$(id -u)" = 0 ] || { echo "run.sh: spin or gcc is missing: apt-get install spin gcc" >&2; exit 1; }
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends spin gcc libc6-dev >/dev/null
fi

mkdir -p "$build"
failed=0
log=$build/trails
: >"$log"

# verifier DIR SEARCH MODEL FLAG... builds DIR/pan.
verifier() {
	dir=$1 search=$2 model=$3
	shift 3
	rm -rf "$dir"
	mkdir -p "$dir"
	cp "$here/$model.pml" "$dir/"
	(cd "$dir" && spin -a "$@" "$model.pml" >spin.out 2>&1 &&
		gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 $search -o pan pan.c) || { cat "$dir/spin.out" >&2; exit 1; }
}

row() { printf '%-22s %-12s %-24s %12s %7s  %s\n' "$@"; }

# the number before or after a word of the verifier's report
states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1" | head -1; }
depth() { sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' "$1" | head -1; }

# holds CLAIMS MODEL BOUNDS FLAG...: every state is visited, and none breaks a claim.
holds() {
	claims=$1 model=$2 bounds=$3
	shift 3
	verifier "$build/hold" "" "$model" "$@"
	(cd "$build/hold" && nice -n 10 ./pan -m3000000 -w26 >pan.out 2>&1) || true
	out=$build/hold/pan.out verdict='holds in every state'
	if ! grep -q 'errors: 0' "$out" || grep -Eq 'not completed|max search depth too small|out of memory' "$out"; then
		verdict=FAILED failed=1
	fi
	for claim in $claims; do row "$claim" "$model" "$bounds" "$(states "$out")" "$(depth "$out")" "$verdict"; done
}

# finds FAULT CLAIM MODEL BOUNDS FLAG...: the shortest way to a state in which the claim is broken.
finds() {
	fault=$1 claim=$2 model=$3 bounds=$4
	shift 4
	# Breadth first needs the scratch variables in the state.
	verifier "$build/find" -DBFS "$model" -Dhidden= "-D$fault" "$@"
	(cd "$build/find" && nice -n 10 ./pan >pan.out 2>&1) || true
	out=$build/find/pan.out verdict="NOT FOUND"
	if [ -e "$build/find/$model.pml.trail" ]; then
		(cd "$build/find" && spin -t -T -Dhidden= "-D$fault" "$@" "$model.pml" >trail.out 2>&1) || true
		line=$(sed -n "s/.*$model.pml:\([0-9]*\), Error: assertion.*/\1/p" "$build/find/trail.out" | head -1)
		broken=$(sed -n "${line:-1}s|.*/\* \([a-z]*\) \*/.*|\1|p" "$here/$model.pml")
		verdict="found: $broken"
		[ "$broken" = "$claim" ] || { verdict="found the wrong one: $broken"; failed=1; }
		{ echo; echo "$fault breaks \"$broken\":"; grep -E '^ *(origin|receiver|trouble|node)' "$build/find/trail.out" | sed 's/^ */    /'; } >>"$log"
	else
		failed=1
	fi
	row "$fault" "$model" "$bounds" "$(states "$out")" "$(depth "$out")" "$verdict"
}

row property model bounds states depth verdict
holds "equal ended sweep" replication "3 flows, 3 changes, air 2" -DCHANGES=3 -DAIR=2
if [ "${1:-}" != quick ]; then
	holds "equal ended sweep" replication "3 flows, 4 changes, air 1" -DCHANGES=4 -DAIR=1
fi
holds progress replication "3 flows, 3 changes, air 1" -DPROGRESS -DCHANGES=3 -DAIR=1
holds "ready kept ended purged" takeover "1 takeover, 1 crash" -DTAKEOVERS=1 -DCRASHES=1
if [ "${1:-}" != quick ]; then
	holds "ready kept ended purged" takeover "2 takeovers, no crash" -DTAKEOVERS=2 -DCRASHES=0
fi

echo
row 'planted fault' model bounds states depth verdict
small='-DFLOWS=2 -DCHANGES=2'
finds FAULT_NO_FLOOR ended replication "2 flows, 2 changes, air 2" $small -DAIR=2
finds FAULT_OLD_RECORD ended replication "2 flows, 2 changes, air 2" $small -DAIR=2
finds FAULT_NO_HORIZON equal replication "2 flows, 2 changes, air 1" $small -DAIR=1
finds FAULT_EARLY_SWEEP sweep replication "2 flows, 2 changes, air 1" $small -DAIR=1
finds FAULT_WANT_ALL progress replication "2 flows, 2 changes, air 1" -DPROGRESS $small -DAIR=1
finds FAULT_READY_UNPROVEN ready takeover "1 takeover, 1 crash" -DTAKEOVERS=1
finds FAULT_NO_ADOPT_LATE purged takeover "1 takeover, 1 crash" -DTAKEOVERS=1
finds FAULT_PURGE_BLIND purged takeover "1 takeover, 1 crash" -DTAKEOVERS=1
finds FAULT_ADOPT_NOTHING kept takeover "1 takeover, 1 crash" -DTAKEOVERS=1

echo
row 'refuted rule' model bounds states depth verdict
finds WAS_FLOOR ended replication "2 flows, 2 changes, air 2" $small -DAIR=2
finds WAS_PRUNE equal replication "2 flows, 2 changes, air 1" $small -DAIR=1
finds WAS_GIVE equal replication "2 flows, 2 changes, air 1" $small -DAIR=1
finds WAS_BASE equal replication "2 flows, 2 changes, air 2" $small -DAIR=2
finds WAS_FROM_0 equal replication "2 flows, 3 changes, air 2" -DFLOWS=2 -DCHANGES=3 -DAIR=2
finds WAS_READY_AT ready takeover "1 takeover, 1 crash" -DTAKEOVERS=1
finds WAS_STEPPED purged takeover "1 takeover, 1 crash" -DTAKEOVERS=1
finds WAS_ENDED ended takeover "1 takeover, no crash" -DTAKEOVERS=1 -DCRASHES=0

echo
row 'known to be blind' model bounds states depth verdict
holds BLIND_DEAD takeover "1 takeover, 1 crash" -DBLIND_DEAD -DTAKEOVERS=1 -DCRASHES=1

cat "$log"
exit $failed
