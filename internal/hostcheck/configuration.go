package hostcheck

import (
	"fmt"
	"io/fs"

	"ctsync/internal/config"
)

func checkConfiguration(f *Facts) (found []Finding) {
	if f.ConfigErr != nil {
		return []Finding{problem("config-unread", "write it: ctsync.conf(5) begins with a whole example; or name it with --config",
			"the configuration cannot be read: %v", f.ConfigErr)}
	}
	if f.Unconfigured {
		return []Finding{problem("not-configured", "write it, `ctsync config check`, `systemctl restart ctsync`: ctsync-keepalived(7) has whole examples",
			"the configuration says nothing yet, and the service waits for it")}
	}
	for _, fault := range f.Faults {
		p := problem("config-fault", "correct the line; `ctsync config check` tells every fault", "%s", faultText(fault))
		if fault.Line > 0 {
			p.Where = fmt.Sprintf("%s:%d", fault.File, fault.Line)
		}
		found = append(found, p)
	}
	for _, w := range f.Warnings {
		found = append(found, hint("config-warning", "see ctsync.conf(5)", "%s", w))
	}
	return found
}

func faultText(f config.Fault) string {
	text := f.Word + ": " + f.Problem
	if f.Allowed != "" {
		text += "; allowed: " + f.Allowed
	}
	return text
}

// checkKeyFile: whoever reads the key can open the firewall.
func checkKeyFile(f *Facts) []Finding {
	if f.ConfigErr != nil || len(f.Faults) > 0 {
		return nil
	}
	if f.Config.KeyFile == "" {
		return []Finding{hint("link-unauthenticated", "make a key with `ctsync keygen /etc/ctsync/key`, copy it to every node and set key-file; or keep the link on a cable or VLAN of its own",
			"the sync link is not authenticated: whoever can send to it can open connections through the firewall")}
	}
	k := f.KeyFile
	if k == nil {
		return nil
	}
	path := f.Config.KeyFile
	if !k.there() {
		return []Finding{problem("key-missing", "ctsync keygen "+path+", and copy it to every node", "the key file %s is not there, so the daemon does not start", path)}
	}
	var found []Finding
	if perm := k.Mode.Perm(); perm&0o027 != 0 {
		found = append(found, problem("key-rights", "chmod 0600 "+path+"; if others may have read it, make a new key: ctsync.conf(5), key-file",
			"the key file %s has mode %04o: others than its owner can use it, and the daemon refuses it", path, perm))
	}
	found = append(found, keyOwner(k, f.Keepalived.DaemonUser)...)
	if k.Dir.there() && k.Dir.Mode.Perm()&0o022 != 0 && k.Dir.Mode&fs.ModeSticky == 0 {
		found = append(found, problem("key-folder", "chmod go-w "+k.Dir.Path, "others can write to the folder %s and put another key file there", k.Dir.Path))
	}
	return found
}

// KeyOwner is what is wrong if the user that the daemon runs as cannot read the key file at path, which another asks:
// root can read everything.
func KeyOwner(path, user string) []Finding { return keyOwner(followed(path), user) }

func keyOwner(k *File, user string) []Finding {
	grouped := k.Mode.Perm()&0o040 != 0 && k.Group == user // the package's user has a group of its name
	if user == "" || user == "root" || k.User == user || grouped {
		return nil
	}
	return []Finding{problem("key-owner", fmt.Sprintf("chown %s %s", user, k.Path),
		"the key file %s belongs to %s, and the daemon runs as %s and cannot read it", k.Path, k.User, user)}
}
