package notify

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"ctsync/vrrp"
)

// ErrForeign is a well-formed line about something else than VRRP: with notify_fifo instead of
// vrrp_notify_fifo keepalived also tells of virtual and real servers (VS, RS).
var ErrForeign = errors.New("not about VRRP")

// ParseLine reads one line of the notify FIFO, without its newline:
//
//	GROUP "VG" MASTER 0
//	INSTANCE "VI 1" MASTER_RX_LOWER_PRI 150
//
// Names are free text between the first quote and the last one, so the line is read from its right.
func ParseLine(line []byte) (vrrp.Notice, error) {
	kind, rest, _ := bytes.Cut(line, []byte{' '})
	if k := string(kind); k == "VS" || k == "RS" {
		return vrrp.Notice{}, ErrForeign
	}
	end := bytes.LastIndexByte(rest, '"')
	if end < 1 || rest[0] != '"' {
		return vrrp.Notice{}, fmt.Errorf("notify: %.80q has no name in quotes", line)
	}
	words := bytes.Fields(rest[end+1:])
	if len(words) != 2 {
		return vrrp.Notice{}, fmt.Errorf("notify: %.80q does not end in a state and a priority", line)
	}
	return parse(string(kind), string(rest[1:end]), string(words[0]), string(words[1]), vrrp.SourceFIFO)
}

// parse is what lines and scripts have in common; all words are in capitals.
func parse(kind, name, state, priority string, source vrrp.Source) (n vrrp.Notice, err error) {
	n.Source, n.Name = source, name
	switch kind {
	case "GROUP":
		n.Kind = vrrp.Group
	case "INSTANCE":
		n.Kind = vrrp.Instance
	default:
		return n, fmt.Errorf("notify: %.40q: want GROUP or INSTANCE", kind)
	}
	if n.Priority, err = strconv.Atoi(priority); err != nil || n.Priority < 0 || n.Priority > 255 {
		return n, fmt.Errorf("notify: priority %.40q: want a number from 0 to 255", priority)
	}
	switch state {
	case vrrp.EventRxLowerPriority, vrrp.EventMasterPriority, vrrp.EventBackupPriority:
		n.Event = state
		return n, nil
	case "{UNKNOWN}": // what keepalived writes for a state without a name
		return n, nil
	}
	var ok bool
	if n.State, ok = vrrp.ParseState(state); !ok {
		return n, fmt.Errorf("notify: state %.40q: want MASTER, BACKUP, FAULT, STOP or DELETED (or %s, %s, %s)",
			state, vrrp.EventRxLowerPriority, vrrp.EventMasterPriority, vrrp.EventBackupPriority)
	}
	return n, nil
}
