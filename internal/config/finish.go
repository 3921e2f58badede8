package config

import (
	"fmt"
	"log/slog"
)

// finish checks what holds between settings, and fills in the defaults that follow from others.
func (p *parser) finish() {
	p.finishFailover()
	p.finishLinks()
	p.finishIgnored()
	p.finishStandby()
	p.finishLog()
	p.finishPaths()
	p.finishSeal()
	p.finishYoung()
}

// finishYoung: packets end the waiting that sync-after begins.
func (p *parser) finishYoung() {
	if m, ok := p.said["sync-after-packets"]; ok && p.cfg.SyncAfter == 0 {
		p.faultAt(m.line, "sync-after-packets", "would do nothing, nothing waits without sync-after: set that too, or remove the line", "")
	}
}

// finishSeal: seal says how the key is used.
func (p *parser) finishSeal() {
	if m, ok := p.said["seal"]; ok && p.cfg.KeyFile == "" {
		p.faultAt(m.line, "seal", "would do nothing, there is no key-file: make one with `ctsync keygen`, or remove the line", "")
	}
}

func (p *parser) finishFailover() {
	c := &p.cfg
	switch c.Failover.Mechanism {
	case NoMechanism:
		if !p.tried["failover-mechanism"] {
			p.fault("failover-mechanism", "required, and missing: say who decides which firewall forwards", allowedMechanism)
		}
		return
	case Cluster:
		p.finishCluster()
	}
	if c.ClusterID == "" {
		c.ClusterID = c.Failover.Group
	}
	if m, ok := p.said["notify-fifo-owner"]; ok && c.NotifyFIFO == "" && c.Failover.Mechanism == VRRP {
		p.faultAt(m.line, "notify-fifo-owner", "would do nothing, notify-fifo is off: remove one of the lines", "")
	}
}

// finishCluster: without keepalived, what listens to it is off, and must not be asked for.
func (p *parser) finishCluster() {
	c := &p.cfg
	asked := map[string]bool{
		"notify-fifo":       c.NotifyFIFO != "",
		"notify-fifo-owner": true,
		"dbus":              c.DBus,
		"keepalived-config": true,
		"keepalived-pid":    true,
	}
	for _, name := range []string{"notify-fifo", "notify-fifo-owner", "dbus", "keepalived-config", "keepalived-pid"} {
		if m, ok := p.said[name]; ok && asked[name] {
			p.faultAt(m.line, name, "would do nothing, the failover mechanism is cluster and this is about keepalived: remove the line", "")
		}
	}
	c.NotifyFIFO, c.NotifyFIFOOwner, c.DBus, c.KeepalivedConfig, c.KeepalivedPID = "", "", false, "", ""
}

// finishStandby: disable-external-cache is VyOS's word for a hot standby.
func (p *parser) finishStandby() {
	hot, ok := p.said["disable-external-cache"]
	if ok && p.cfg.Standby == Warm {
		p.faultAt(p.said["standby"].line, "standby", fmt.Sprintf("warm here, but disable-external-cache (a hot standby) on line %d: remove one of the lines", hot.line), "")
	}
}

// finishLog: disable-syslog is VyOS's word for warnings and errors only.
func (p *parser) finishLog() {
	quiet, ok := p.said["disable-syslog"]
	if !ok || p.cfg.LogLevel >= slog.LevelWarn {
		return
	}
	if m, ok := p.said["log-level"]; ok {
		p.faultAt(m.line, "log-level", fmt.Sprintf("%s here, but disable-syslog (warn and error only) on line %d: remove one of the lines", levelWord(p.cfg.LogLevel), quiet.line), "warn, error")
		return
	}
	p.cfg.LogLevel = slog.LevelWarn
}

// finishPaths: no two settings may name one file.
func (p *parser) finishPaths() {
	used := map[string]string{}
	for _, f := range []struct{ name, path string }{
		{"keepalived-config", p.cfg.KeepalivedConfig},
		{"keepalived-pid", p.cfg.KeepalivedPID},
		{"notify-fifo", p.cfg.NotifyFIFO},
		{"track-file", p.cfg.TrackFile},
		{"control", p.cfg.Control},
		{"key-file", p.cfg.KeyFile},
	} {
		other, taken := used[f.path]
		if f.path == "" || !taken {
			used[f.path] = f.name
			continue
		}
		line := max(p.said[f.name].line, p.said[other].line)
		p.faultAt(line, f.path, fmt.Sprintf("is the file of both %s and %s: each needs its own", other, f.name), "")
	}
}
