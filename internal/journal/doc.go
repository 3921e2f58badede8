// Package journal writes what the daemon has to say where it is read: under systemd as native entries of the
// journal, with a field for each attribute and the MESSAGE_ID of the event, which the catalog explains; elsewhere
// as lines on standard error.
//
//	log.Warn("peer lost", journal.Key, journal.PeerLost, "peer", "fw-b")
//
//	MESSAGE=peer lost (peer fw-b)   PRIORITY=4   CTSYNC_EVENT=peer-lost   CTSYNC_PEER=fw-b   MESSAGE_ID=...
//
// Writing never waits: an engine must not stand still because the journal does. What the journal cannot take is
// counted, and the next entry says so.
package journal
