// Package keepalived reads keepalived's configuration as statements with their places, which is what a check of a
// host needs, and writes the statements that ctsync needs in it.
//
//	keepalived.conf --words--> statements (keyword, arguments, block, file:line) --queries--> groups, instances, scripts
//
// It is a second reader: what keepalived decides at its own start (lines of @config-id, repeated blocks) is left
// out, and nothing that keepalived would accept is an error. The facts about keepalived in the comments were
// observed on 2.2.7 where no version is named.
package keepalived
