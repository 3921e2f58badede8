package journal

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// catalogFile is what the package installs as /usr/lib/systemd/catalog/ctsync.catalog.
const catalogFile = "../../packaging/deb/ctsync.catalog"

// fields that the daemon's records have, and an explanation may therefore name.
var fields = map[string]bool{
	"CTSYNC_PEER": true, "CTSYNC_REASON": true, "CTSYNC_COUNT": true, "CTSYNC_DURATION_USEC": true, "CTSYNC_NODE": true,
	"CTSYNC_GROUP": true, "CTSYNC_ERROR": true, "CTSYNC_REMEDY": true, "CTSYNC_CHANGED": true,
	"CTSYNC_ADOPTED": true, "CTSYNC_WRITTEN": true, "CTSYNC_FAILED": true, "CTSYNC_SETTINGS": true,
}

var placeholder = regexp.MustCompile(`@([^@\s]+)@`)

// TestCatalog: every event is explained once, with what to do, and nothing else is.
func TestCatalog(t *testing.T) {
	text, err := os.ReadFile(catalogFile)
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]string{}
	for _, part := range strings.Split(string(text), "\n-- ")[1:] {
		id, rest, _ := strings.Cut(part, "\n")
		if explained[id] != "" {
			t.Errorf("%s is explained twice", id)
		}
		explained[id] = rest
	}
	for _, e := range Events() {
		what, ok := explained[MessageID(e)]
		delete(explained, MessageID(e))
		head, body, _ := strings.Cut(what, "\n\n")
		switch {
		case !ok:
			t.Errorf("%s is not explained", e)
		case !strings.HasPrefix(head, "Subject: ") || !strings.Contains(head, "\nDefined-By: ctsync"):
			t.Errorf("%s: the head is %q", e, head)
		case len(strings.Split(strings.TrimSpace(body), "\n\n")) < 2:
			t.Errorf("%s: what it means and what to do are two paragraphs at least", e)
		}
		for _, m := range placeholder.FindAllStringSubmatch(what, -1) {
			if !fields[m[1]] {
				t.Errorf("%s: %s is no field of the daemon's records", e, m[1])
			}
		}
	}
	for id := range explained {
		t.Errorf("%s is explained and no event's id", id)
	}
}

func TestIDs(t *testing.T) {
	ids, names := map[string]Event{}, map[Event]bool{}
	valid := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for _, e := range Events() {
		id := MessageID(e)
		if !valid.MatchString(id) || ids[id] != "" || names[e] {
			t.Errorf("%s: id %q, the same as of %q", e, id, ids[id])
		}
		ids[id], names[e] = e, true
	}
}
