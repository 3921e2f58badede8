package hostcheck

import (
	"path/filepath"
	"slices"
	"strconv"

	"ctsync/internal/keepalived"
)

// readyValue is what the daemon writes when this node may take over (else 0).
const readyValue = 100

// maxPriority is what keepalived clamps to; 255 is the owner of the address and never lowered.
const maxPriority = 254

func checkReadiness(s *subject) []Finding {
	if s.group == nil || len(s.members) == 0 {
		return nil
	}
	for _, def := range s.tree.TrackFiles() {
		if file := def.Get("file"); file != nil && file.Arg(1) == s.Config.TrackFile {
			return s.checkTrackFile(def)
		}
	}
	if other := s.otherTrackFile(); other != nil {
		return []Finding{problem("track-path", "file "+s.Config.TrackFile+" in keepalived.conf, or track-file "+other.Get("file").Arg(1)+" in ctsync.conf",
			"keepalived tracks %s, and ctsync writes %s: readiness is never heard of", other.Get("file").Arg(1), s.Config.TrackFile).at(other.At)}
	}
	if s.waits() || s.neverPreempts() {
		return nil
	}
	return []Finding{problem("preempts-empty", "nopreempt on every instance, or follow readiness: `ctsync keepalived print --readiness`",
		"a node that comes back takes the addresses as soon as it can, without the connections").at(s.group.At)}
}

// otherTrackFile is a definition that seems to be meant for ctsync.
func (s *subject) otherTrackFile() *keepalived.Statement {
	for _, def := range s.tree.TrackFiles() {
		file := def.Get("file")
		if file == nil || !slices.Contains(trackedNames(s.group), def.Arg(1)) {
			continue
		}
		if def.Arg(1) == "ctsync" || filepath.Base(file.Arg(1)) == filepath.Base(s.Config.TrackFile) {
			return def
		}
	}
	return nil
}

func trackedNames(in *keepalived.Statement) (names []string) {
	for _, t := range in.All("track_file") {
		for _, sub := range t.Block {
			names = append(names, sub.Words[0])
		}
	}
	return names
}

// waits: VRRP does not start before the node is in sync.
func (s *subject) waits() bool {
	return slices.ContainsFunc(s.scripts, func(c keepalived.Script) bool {
		return c.Keyword == "startup_script" && slices.Contains(c.Command, "wait-synced")
	})
}

func (s *subject) neverPreempts() bool {
	return !slices.ContainsFunc(s.members, func(m *keepalived.Statement) bool { return !m.Has("nopreempt") })
}

func (s *subject) checkTrackFile(def *keepalived.Statement) (found []Finding) {
	name, place := def.Arg(1), def.At
	weight := def.Number("weight", 1)
	if use := s.useOf(name); use != nil {
		place = use.At
		if use.Arg(1) == "weight" {
			if n, err := strconv.Atoi(use.Arg(2)); err == nil {
				weight = n
			}
		}
	} else {
		found = append(found, s.unusedTrackFile(name, def))
	}
	switch {
	case weight == 0:
		found = append(found, problem("track-weight", "weight 1", "the track_file %s has weight 0: when ctsync says ready (100), keepalived goes to FAULT", name).at(place))
	case weight < 0:
		found = append(found, problem("track-weight", "weight 1", "the track_file %s has weight %d: a node in sync would lower its priority", name, weight).at(place))
	default:
		found = append(found, s.checkPriorities(weight)...)
	}
	if init := def.Get("init_file"); init != nil && init.Arg(1) != "" && init.Arg(1) != "0" {
		found = append(found, problem("track-init", "take it out: a missing file counts as 0", "init_file writes %s before ctsync has said anything: the node would be ready with no connections", init.Arg(1)).at(init.At))
	}
	if dir := s.Keepalived.TrackDir; dir != nil && !dir.there() {
		found = append(found, problem("track-folder", "systemd-tmpfiles --create, then systemctl reload keepalived",
			"the folder of %s is not there: keepalived does not follow readiness until it is reloaded with the folder", s.Config.TrackFile).at(def.At))
	}
	return found
}

// useOf is the line in the group that tracks it.
func (s *subject) useOf(name string) *keepalived.Statement {
	for _, t := range s.group.All("track_file") {
		for _, sub := range t.Block {
			if sub.Words[0] == name {
				return sub
			}
		}
	}
	return nil
}

func (s *subject) unusedTrackFile(name string, def *keepalived.Statement) Finding {
	for _, m := range s.members {
		if slices.Contains(trackedNames(m), name) {
			return problem("track-member", "move track_file { "+name+" } to the vrrp_sync_group", "the track_file %s is followed by %s, a member of the group: keepalived ignores its weight there", name, m.Arg(1)).at(m.At)
		}
	}
	return problem("track-unused", "track_file { "+name+" } in vrrp_sync_group "+s.Config.Failover.Group, "the track_file %s is defined, and the group does not follow it", name).at(def.At)
}

func (s *subject) checkPriorities(weight int) (found []Finding) {
	for _, m := range s.members {
		p := m.Number("priority", 100)
		if p < 255 && p+readyValue*weight > maxPriority {
			found = append(found, problem("track-clamped", "lower the priorities on every node, keeping their difference: 50 and 40, say",
				"priority %d and the readiness of %d are more than %d, to which keepalived cuts it: the difference between the nodes is lost", p, readyValue*weight, maxPriority).at(m.At))
		}
	}
	return found
}
