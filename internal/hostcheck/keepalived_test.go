package hostcheck

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ctsync/internal/keepalived"
)

const examples = "../../packaging/examples/keepalived/"

// forExample are the settings that an example says are needed.
var forExample = map[string]string{
	"dbus.conf": "notify-fifo off\n", "scripts.conf": "notify-fifo off\ndbus off\n",
}

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(examples + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExamples: what we advise has no problem.
func TestExamples(t *testing.T) {
	files, _ := filepath.Glob(examples + "*.conf")
	if len(files) < 4 {
		t.Fatalf("%d examples", len(files))
	}
	for _, file := range files {
		name := filepath.Base(file)
		f := well(t, settings+forExample[name])
		text := example(t, name)
		if strings.Contains(text, "notify.fifo ctsync ctsync") {
			f.Keepalived.FIFO.User, f.Keepalived.FIFO.UID, f.Keepalived.DaemonUser = "ctsync", 999, "ctsync"
			f.KeyFile.User = "ctsync"
		}
		f.reads(t, text)
		if got := said(t, Examine(f)); got != map[string]string{"dbus.conf": "(dbus-alone)", "scripts.conf": "(scripts-alone)"}[name] {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// base is a configuration without findings, in the shape of the examples.
const base = `
global_defs {
    script_user root
    enable_script_security
    vrrp_notify_fifo /run/ctsync/notify.fifo
    fifo_write_vrrp_states_on_reload
    reload_check_config
}
track_file ready {
    file /run/ctsync-track/ready
    weight 1
}
vrrp_sync_group VG {
    group { OUTSIDE INSIDE }
    track_file {
        ready
    }
}
vrrp_instance OUTSIDE {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 50
}
vrrp_instance INSIDE {
    state BACKUP
    interface eth1
    virtual_router_id 52
    priority 50
}
`

// TestKeepalived: everything that can be wrong in keepalived's configuration, one at a time.
func TestKeepalived(t *testing.T) {
	const (
		fifo   = "    vrrp_notify_fifo /run/ctsync/notify.fifo\n"
		group  = "    group { OUTSIDE INSIDE }\n"
		global = "global_defs {\n"
		track  = "    track_file {\n        ready\n    }\n"
		script = `    notify "/usr/sbin/ctsync notify"` + "\n"
		member = "    interface eth0\n"
	)
	for name, c := range map[string]struct {
		want     string
		settings string
		change   []string
		facts    func(*Facts)
	}{
		"nothing":               {},
		"another group":         {want: "group-missing", change: []string{"vrrp_sync_group VG", "vrrp_sync_group WG"}},
		"no group":              {want: "group-missing", change: []string{"vrrp_sync_group VG", "vrrp_sync_grup VG"}},
		"empty group":           {want: "group-empty", change: []string{group, ""}},
		"unknown member":        {want: "member-missing", change: []string{"OUTSIDE INSIDE", "OUTSIDE INSIDE DMZ"}},
		"open block":            {want: "keepalived-braces", change: []string{"    priority 50\n}\n", "    priority 50\n", "vrrp_instance INSIDE", "} vrrp_instance INSIDE {\n}\nvrrp_instance INSIDE", "    priority 50\n}\n", "    priority 50\n"}},
		"no driver":             {want: "no-driver", settings: "dbus off\n", change: []string{fifo, ""}},
		"another FIFO":          {want: "fifo-path", change: []string{"ctsync/notify", "keepalived/notify"}},
		"a FIFO for all":        {change: []string{"vrrp_notify_fifo", "notify_fifo"}},
		"D-Bus instead":         {want: "(fifo-unused)", change: []string{fifo, "enable_dbus\n"}},
		"D-Bus is not built":    {want: "dbus-not-built (dbus-alone)", settings: "notify-fifo off\n", change: []string{fifo, "enable_dbus\n"}, facts: func(f *Facts) { f.Keepalived.Program.Options = []string{"VRRP"} }},
		"D-Bus by another name": {want: "dbus-name (dbus-alone)", settings: "notify-fifo off\n", change: []string{fifo, "enable_dbus\ndbus_service_name org.example\n"}},
		"D-Bus is off here":     {want: "no-driver", settings: "notify-fifo off\ndbus off\n", change: []string{fifo, "enable_dbus\n"}},
		"two readers":           {want: "fifo-two-readers", change: []string{fifo, fifo + "vrrp_notify_fifo_script /usr/bin/other\n"}},
		"FIFO of another": {want: "(fifo-owner)", facts: func(f *Facts) {
			f.Keepalived.FIFO.User, f.Keepalived.DaemonUser, f.KeyFile.User = "ctsync", "ctsync", "ctsync"
		}},
		"FIFO of another, 2.4": {want: "fifo-owner", facts: func(f *Facts) {
			f.Keepalived.FIFO.User, f.Keepalived.DaemonUser, f.KeyFile.User = "ctsync", "ctsync", "ctsync"
			f.Keepalived.Program.Version = keepalived.Version{2, 4, 0}
		}},
		"FIFO with its owner": {change: []string{"notify.fifo", "notify.fifo ctsync ctsync"}, facts: func(f *Facts) {
			f.Keepalived.FIFO.User, f.Keepalived.DaemonUser, f.KeyFile.User = "ctsync", "ctsync", "ctsync"
		}},
		"FIFO made by keepalived": {want: "fifo-unreadable", facts: func(f *Facts) { f.Keepalived.DaemonUser, f.KeyFile.User = "ctsync", "ctsync" }},
		"no FIFO":                 {want: "fifo-missing", facts: func(f *Facts) { f.Keepalived.FIFO.Mode = 0 }},
		"no folder":               {want: "fifo-folder", facts: func(f *Facts) { f.Keepalived.FIFO.Mode, f.Keepalived.FIFO.Dir.Mode = 0, 0 }},
		"a file":                  {want: "fifo-kind", facts: func(f *Facts) { f.Keepalived.FIFO.Mode = 0o600 }},
		"a symbolic link":         {want: "fifo-kind", facts: func(f *Facts) { f.Keepalived.FIFO.Mode = fs.ModeSymlink | 0o777 }},
		"FIFO for everybody":      {want: "fifo-rights", facts: func(f *Facts) { f.Keepalived.FIFO.Mode = fs.ModeNamedPipe | 0o666 }},

		"scripts alone":         {want: "(scripts-alone)", settings: "notify-fifo off\ndbus off\n", change: []string{fifo, "", group, group + script}},
		"scripts beside":        {change: []string{group, group + script}},
		"no script security":    {want: "script-security reload-stops", change: []string{group, group + script, "enable_script_security", ""}},
		"no script user":        {want: "script-user", change: []string{group, group + script, "script_user root", ""}},
		"keepalived_script":     {change: []string{group, group + script, "script_user root", ""}, facts: func(f *Facts) { f.Keepalived.ScriptUser = true }},
		"script of nobody":      {want: "script-rights", change: []string{group, group + script, "script_user root", "script_user nobody"}},
		"script of nobody here": {want: "script-rights", change: []string{group, group + `notify "/usr/sbin/ctsync notify" nobody` + "\n"}},
		"nobody may":            {settings: "control-group adm\n", change: []string{group, group + script, "script_user root", "script_user nobody"}},
		"script is gone":        {want: "script-missing", change: []string{group, group + script}, facts: func(f *Facts) { f.Keepalived.Scripts["/usr/sbin/ctsync"].Mode = 0 }},
		"not executable":        {want: "script-mode", change: []string{group, group + script}, facts: func(f *Facts) { f.Keepalived.Scripts["/usr/sbin/ctsync"].Mode = 0o644 }},
		"of somebody":           {want: "script-unsafe", change: []string{group, group + script}, facts: func(f *Facts) { f.Keepalived.Scripts["/usr/sbin/ctsync"].UID = 1000 }},
		"in an open folder":     {want: "script-unsafe", change: []string{group, group + script}, facts: func(f *Facts) { f.Keepalived.Scripts["/usr/sbin/ctsync"].Dir.Mode |= 0o002 }},
		"words are missing":     {want: "script-words", change: []string{group, group + `notify_master "/usr/sbin/ctsync notify"` + "\n"}},
		"words of another":      {want: "script-words", change: []string{group, group + `notify_master "/usr/sbin/ctsync notify GROUP VG BACKUP"` + "\n"}},
		"words are right":       {change: []string{group, group + `notify_master "/usr/sbin/ctsync notify GROUP VG MASTER"` + "\n" + `notify_backup "/usr/sbin/ctsync notify backup VG"` + "\n"}},
		"deleted on a group":    {want: "deleted-on-group", change: []string{group, group + `notify_deleted "/usr/sbin/ctsync notify GROUP VG DELETED"` + "\n"}},

		"another track file":   {want: "track-path", change: []string{"/run/ctsync-track/ready", "/run/ctsync/ready"}},
		"no track file":        {want: "preempts-empty", change: []string{track, "", "file /run/ctsync-track/ready", "file /run/other"}},
		"nopreempt":            {change: []string{track, "", "file /run/ctsync-track/ready", "file /run/other", member, member + "nopreempt\n", "    interface eth1\n", "    interface eth1\nnopreempt\n"}},
		"half nopreempt":       {want: "preempts-empty", change: []string{track, "", "file /run/ctsync-track/ready", "file /run/other", member, member + "nopreempt\n"}},
		"waits for sync":       {change: []string{track, "", "file /run/ctsync-track/ready", "file /run/other", global, global + `startup_script "/usr/sbin/ctsync wait-synced --timeout 30s"` + "\n"}},
		"not followed":         {want: "track-unused", change: []string{track, ""}},
		"followed by a member": {want: "track-member", change: []string{track, "", member, member + track}},
		"weight 0":             {want: "track-weight", change: []string{"weight 1", "weight 0"}},
		"weight 0 at the use":  {want: "track-weight", change: []string{"        ready\n", "        ready weight 0\n"}},
		"weight -1":            {want: "track-weight", change: []string{"weight 1", "weight -1"}},
		"default weight":       {change: []string{"weight 1", ""}},
		"high priority":        {want: "track-clamped", change: []string{"priority 50", "priority 200"}},
		"ready from the start": {want: "track-init", change: []string{"weight 1", "weight 1\n    init_file 100 overwrite"}},
		"not ready from it":    {change: []string{"weight 1", "weight 1\n    init_file 0"}},
		"no track folder":      {want: "track-folder", facts: func(f *Facts) { f.Keepalived.TrackDir.Mode = 0 }},

		"priority 255":               {want: "priority-255", change: []string{"priority 50", "priority 255"}},
		"nopreempt and MASTER":       {want: "nopreempt-master", change: []string{"state BACKUP", "state MASTER\nnopreempt"}},
		"VRRP on the sync link":      {want: "(vrrp-on-sync-link)", change: []string{"interface eth0", "interface eth2"}},
		"sync link tracked":          {want: "sync-link-tracked", change: []string{group, group + "track_interface {\n eth2\n }\n"}},
		"sync link tracked by it":    {want: "sync-link-tracked", change: []string{member, member + "track_interface { eth2 }\n"}},
		"reload is not checked":      {want: "reload-unchecked", change: []string{"reload_check_config", ""}},
		"reload with an open script": {want: "reload-stops", change: []string{global, "vrrp_script x {\n script /bin/true\n}\n" + global, "enable_script_security", ""}},
		"reload is silent":           {want: "(reload-silent)", change: []string{"fifo_write_vrrp_states_on_reload", ""}},
		"startup delay":              {want: "startup-delay", change: []string{global, global + "vrrp_startup_delay 5\n"}},
		"startup delay, 2.2.8":       {change: []string{global, global + "vrrp_startup_delay 5\n"}, facts: func(f *Facts) { f.Keepalived.Program.Version = keepalived.Version{2, 2, 8} }},

		"not installed":  {want: "keepalived-missing", facts: func(f *Facts) { f.Keepalived.Program, f.Keepalived.Err = nil, keepalived.ErrNotInstalled }},
		"old":            {want: "(keepalived-old)", facts: func(f *Facts) { f.Keepalived.Program.Version = keepalived.Version{2, 0, 10} }},
		"does not run":   {want: "keepalived-stopped", facts: func(f *Facts) { f.Keepalived.PID = 0 }},
		"runs elsewhere": {want: "keepalived-other-config", facts: func(f *Facts) { f.Keepalived.UsesConfig = "/etc/other.conf" }},
		"refused":        {want: "keepalived-refuses", facts: func(f *Facts) { f.Keepalived.Refuses = "Unknown keyword" }},
		"cannot be read": {want: "keepalived-unread", facts: func(f *Facts) { f.Keepalived.Config, f.Keepalived.ConfigErr = nil, errors.New("permission denied") }},
		"a cluster's":    {settings: "cluster", facts: func(f *Facts) { f.Keepalived = Keepalived{Err: keepalived.ErrNotInstalled} }},
	} {
		t.Run(name, func(t *testing.T) {
			text := settings + c.settings
			if c.settings == "cluster" {
				text = "failover-mechanism cluster group G\ninterface eth2\nkey-file /etc/ctsync/key\n"
			}
			f := well(t, text)
			f.reads(t, change(t, base, c.change...))
			if c.facts != nil {
				c.facts(f)
			}
			if got := said(t, Examine(f)); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestUsedFile reads keepalived's command lines.
func TestUsedFile(t *testing.T) {
	for line, want := range map[string]string{
		"keepalived": "/etc/keepalived/keepalived.conf", "keepalived -n -f a.conf -l": "a.conf", "keepalived -fa.conf": "a.conf",
		"keepalived --use-file a.conf": "a.conf", "keepalived --use-file=a.conf -n": "a.conf",
	} {
		if got := usedFile(strings.Fields(line)); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}
