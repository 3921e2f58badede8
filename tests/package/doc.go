// Package deb installs the Debian package on booted Debian systems (systemd-nspawn, no other container
// software) and uses it there as an operator does: configure, start, let keepalived drive it, reload a broken
// file, kill it, upgrade, remove, purge.
//
// It needs root and runs by `make test-deb`, not with the other tests: building a root file system takes a minute once, and
// the tests about two. What it keeps is in build/test-deb.
package deb
