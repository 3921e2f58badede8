// Package config reads ctsync.conf: the words of VyOS's `service conntrack-sync` and a few of ctsync's own,
// one setting a line.
//
//	bytes --words--> settings table --values--> Config --relations--> faults
//	                 (one entry a setting: how to read it, how to write it)
//
// Everything that is wrong is told at once, each fault with its file, line, word and what is allowed.
// Parse looks at nothing but its reader; Load adds the file and the host's name, CheckHost compares with
// facts about the host that the caller hands in. Nothing here is safe for concurrent use, and nothing needs
// to be: a Config is a value.
//
// docs/ctsync.conf.md is the reference; a test keeps it equal to the settings table.
package config
