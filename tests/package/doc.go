// Package deb installs the Debian package on booted Debian systems (systemd-nspawn, no other container
// software) and uses it there as an operator does: configure, start, let keepalived or Pacemaker drive it, reload a broken
// file, kill it, upgrade, remove, purge. Pairs of such systems carry connections between two others through power cuts, link cuts,
// split brains and whatever else happens to firewalls, and their journals are read for what they should tell.
//
// It needs root and runs by `make test-deb`, not with the other tests. The root file systems are made once for a machine
// and kept in its user's cache folder (~/.cache/ctsync-test-deb); everything else is in build/test-deb while the tests run.
package deb
