package hostcheck

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ctsync/internal/config"
	"ctsync/internal/keepalived"
)

// look is what the file system says of a path and of the folders above it. It follows no symbolic link at the end.
func look(path string) *File {
	f := &File{Path: path}
	if st, err := os.Lstat(path); err == nil {
		f.Mode = st.Mode()
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			f.UID = int(sys.Uid)
			f.User, f.Group = userName(f.UID), groupName(int(sys.Gid))
		}
	}
	if dir := filepath.Dir(path); dir != path {
		f.Dir = look(dir)
	}
	return f
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid int) string {
	id := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

func (f *Facts) gatherKeepalived(ctx context.Context, control string) {
	if f.Config.Failover.Mechanism != config.VRRP {
		return
	}
	k := &f.Keepalived
	k.Path = f.Config.KeepalivedConfig
	if p, err := keepalived.Installed(ctx); err == nil {
		k.Program = &p
	} else {
		k.Err = err
	}
	k.DaemonUser = DaemonUser(control)
	k.PID, k.UsesConfig = runningKeepalived(f.Config.KeepalivedPID)
	if f.Config.NotifyFIFO != "" {
		k.FIFO = look(f.Config.NotifyFIFO)
	}
	k.TrackDir = look(filepath.Dir(f.Config.TrackFile))
	_, err := user.Lookup("keepalived_script")
	k.ScriptUser = err == nil
	if k.Config, k.ConfigErr = keepalived.Read(k.Path); k.ConfigErr != nil {
		return
	}
	k.Scripts = map[string]*File{}
	for _, s := range k.Config.Scripts() {
		if s.Runs("ctsync") && filepath.IsAbs(s.Command[0]) {
			k.Scripts[s.Command[0]] = followed(s.Command[0])
		}
	}
	k.Refuses = refusal(ctx, k.Path)
}

// followed is look, at what a symbolic link leads to.
func followed(path string) *File {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return look(path)
}

// DaemonUser is whom the daemon runs as: the owner of its socket, or else the user that the package makes, or nobody.
func DaemonUser(control string) string {
	if f := look(control); f.Mode&fs.ModeSocket != 0 {
		return f.User
	}
	if u, err := user.Lookup("ctsync"); err == nil {
		return u.Username
	}
	return ""
}

// runningKeepalived is the process of a pid file and the configuration that it was started with.
func runningKeepalived(pidFile string) (pid int, uses string) {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, ""
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, ""
	}
	proc := "/proc/" + strconv.Itoa(pid)
	if comm, err := os.ReadFile(proc + "/comm"); err != nil || strings.TrimSpace(string(comm)) != "keepalived" {
		return 0, ""
	}
	line, _ := os.ReadFile(proc + "/cmdline")
	uses = usedFile(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"))
	if cwd, err := os.Readlink(proc + "/cwd"); err == nil && !filepath.IsAbs(uses) {
		uses = filepath.Join(cwd, uses)
	}
	return pid, uses
}

// usedFile is the argument of -f or --use-file.
func usedFile(args []string) string {
	for i, a := range args {
		switch {
		case (a == "-f" || a == "--use-file") && i+1 < len(args):
			return args[i+1]
		case strings.HasPrefix(a, "--use-file="):
			return strings.TrimPrefix(a, "--use-file=")
		case strings.HasPrefix(a, "-f") && len(a) > 2:
			return a[2:]
		}
	}
	return config.Default().KeepalivedConfig
}

// testFor bounds `keepalived -t`, which on 2.2.7 may run for ever where a group tracks a file of another name.
const testFor = 5 * time.Second

// refusedConfig is the exit code of `keepalived -t` for a fault. It is 6 where scripts would run insecurely, and the
// program kills itself where a script has another user: neither is a refusal.
const refusedConfig = 5

func refusal(ctx context.Context, path string) string {
	if os.Geteuid() != 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, testFor)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "keepalived", "--config-test", "--log-console", "--use-file", path)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != refusedConfig {
		return ""
	}
	return firstFault(said.String())
}

// disliked are lines about what keepalived runs with all the same; for the second one it exits as for a fault.
var disliked = regexp.MustCompile(`WARNING|this probably isn't what you want`)

// firstFault is the first line that says what is wrong, or nothing.
func firstFault(said string) string {
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" && !disliked.MatchString(line) {
			return line
		}
	}
	return ""
}

// Owner is the user who owns what is at the path, or empty.
func Owner(path string) string {
	if path == "" {
		return ""
	}
	return look(path).User
}
