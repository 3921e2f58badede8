// Package dialogues speaks, through a pair of firewalls, the least of each protocol that makes the kernel's helper
// for it expect a connection, has the other firewall take over, and then opens what was announced. Its dialogues
// are a table: who speaks, from which side, and what comes of it.
package dialogues
