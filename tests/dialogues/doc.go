// Package dialogues has flows of every kind live through takeovers by keepalived, between a pair of firewalls.
//
// TestDialogues speaks the least of each protocol that makes the kernel's helper for it expect a connection, has the
// other firewall take over, and then opens what was announced. TestKinds has plain flows, with each translation,
// go on.
package dialogues
