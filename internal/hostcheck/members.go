package hostcheck

import (
	"slices"

	"ctsync/internal/config"
	"ctsync/internal/keepalived"
)

func checkMembers(s *subject) (found []Finding) {
	for _, m := range s.members {
		name := m.Arg(1)
		if m.Number("priority", 100) == 255 {
			found = append(found, problem("priority-255", "a priority of at most 254", "%s has priority 255: keepalived never tells of the group then, preempts always and follows no readiness", name).at(m.At))
		}
		if m.Has("nopreempt") && m.Get("state") != nil && m.Get("state").Arg(1) == "MASTER" {
			found = append(found, problem("nopreempt-master", "state BACKUP", "%s has nopreempt and state MASTER: keepalived ignores nopreempt then", name).at(m.At))
		}
		if i := m.Get("interface"); i != nil && slices.ContainsFunc(s.Config.Links, func(l config.Link) bool { return l.Interface == i.Arg(1) }) {
			found = append(found, hint("vrrp-on-sync-link", "leave the sync link out of the group", "%s runs on %s, the sync link: when that fails, the addresses move", name, i.Arg(1)).at(m.At))
		}
	}
	return append(found, s.checkTracked()...)
}

// checkTracked: a failed sync link must not stop the forwarding, on both nodes at once.
func (s *subject) checkTracked() (found []Finding) {
	for _, in := range append(slices.Clone(s.members), s.group) {
		if in == nil {
			continue
		}
		for _, t := range in.All("track_interface") {
			for _, sub := range t.Block {
				if slices.ContainsFunc(s.Config.Links, func(l config.Link) bool { return l.Interface == sub.Words[0] }) && !slices.Contains(sub.Words, "weight") {
					found = append(found, problem("sync-link-tracked", "take it out of track_interface",
						"%s tracks %s, the sync link: when the cable fails, both nodes are in FAULT and nobody forwards", in.Arg(1), sub.Words[0]).at(sub.At))
				}
			}
		}
	}
	return found
}

// checkReload: what goes wrong when keepalived starts or reads its configuration again.
func checkReload(s *subject) (found []Finding) {
	insecure := s.tree.InsecureScript()
	switch checked := s.global.Has("reload_check_config"); {
	case checked && insecure != nil: // seen with 2.2.7 and 2.3.3, which say no more than "permanent error CONFIG"
		found = append(found, problem("reload-stops", "add script_user root and enable_script_security to global_defs",
			"there is a script, reload_check_config, and no script security: keepalived ends as soon as it is started the next time").at(insecure.At))
	case !checked && insecure != nil:
		found = append(found, reloadUnchecked("add reload_check_config to global_defs, and script_user root and enable_script_security with it, since there are scripts"))
	case !checked:
		found = append(found, reloadUnchecked("add reload_check_config to global_defs"))
	}
	if s.fifoDrives() && !s.global.Has("fifo_write_vrrp_states_on_reload") {
		found = append(found, hint("reload-silent", "add fifo_write_vrrp_states_on_reload to global_defs",
			"a reload that changes nothing writes nothing: a state that was missed is not told again"))
	}
	if delay := s.global.Get("vrrp_startup_delay"); delay != nil && (!s.known() || s.version.Before(startupRight)) {
		found = append(found, problem("startup-delay", `take it out; startup_script "/usr/sbin/ctsync wait-synced --timeout 30s" waits for what matters, and for no longer`,
			"vrrp_startup_delay %s: keepalived before %s begins it anew with every advert of the other node (22.9 s instead of 8.4 s were seen), and takes nothing over meanwhile", delay.Arg(1), startupRight).at(delay.At))
	}
	for _, m := range s.groupScripts("notify_deleted") {
		if s.known() && s.version.Before(keepalived.Version{2, 3, 0}) {
			found = append(found, problem("deleted-on-group", "move it to the instances", "notify_deleted is no keyword of a vrrp_sync_group in keepalived %s, whatever its manual says", s.version).at(m.At))
		}
	}
	return found
}

func reloadUnchecked(remedy string) Finding {
	return problem("reload-unchecked", remedy, "a reload with a broken configuration ends keepalived without a word, and its addresses stay on this node")
}

func (s *subject) groupScripts(keyword string) []*keepalived.Statement {
	if s.group == nil {
		return nil
	}
	return s.group.All(keyword)
}
