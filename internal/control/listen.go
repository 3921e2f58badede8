package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is what fits sockaddr_un with its NUL (unix(7)).
const maxPath = 107

// Listen makes the socket at path, for root alone or, where group is not empty, for that group too. What a
// dead daemon left there is replaced. A living one is an error that names it: it is told by a lock beside the
// socket, which the kernel gives up with its process, so that two that start at once cannot both win.
func Listen(path, group string) (*Server, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control: the path of the socket has %d bytes, %d are allowed: choose a shorter one with --control", len(path), maxPath)
	}
	gid, err := groupID(group)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	s, err := bind(path, gid)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Server{path: path, listener: s, lock: lock, slots: make(chan struct{}, maxClients)}, nil
}

func takeLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, living(path, owner(path))
	}
	return nil, fmt.Errorf("control: lock %s.lock: %w", path, err)
}

func living(path string, pid int) error {
	who := "another process"
	if pid > 0 {
		who = fmt.Sprintf("process %d", pid)
	}
	return fmt.Errorf("control: %s serves %s already: stop it, or choose another path with --control", who, path)
}

// owner is the process that listens at path, 0 if nobody does.
func owner(path string) int {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return 0
	}
	defer conn.Close()
	pid, _ := peerOf(conn)
	return pid
}

// peerOf is the process at the other end of conn, 0 if that is not known, and whether it is root's (SO_PEERCRED).
func peerOf(conn net.Conn) (pid int, root bool) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, false
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid, root = int(cred.Pid), cred.Uid == 0
		}
	})
	return pid, root
}

// bind listens at path, where at most a dead socket is.
func bind(path string, gid int) (*net.UnixListener, error) {
	if err := clear(path); err != nil {
		return nil, err
	}
	// bind gives the file the socket's own mode: it is never open to all, whatever the umask.
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if gid < 0 {
		return l.(*net.UnixListener), nil
	}
	err = os.Chown(path, -1, gid)
	if err == nil {
		err = os.Chmod(path, 0o660)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	return l.(*net.UnixListener), nil
}

// clear removes a dead socket, and nothing else.
func clear(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("control: %s is there and is not a socket: remove it, or choose another path with --control", path)
	}
	if pid := owner(path); pid > 0 { // of a program that knows nothing of the lock
		return living(path, pid)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

// groupID is the number of a group given by name or number, -1 for none.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(group); err == nil && id >= 0 {
		return id, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("control: group %q: %w: create it, or leave the group out", group, err)
	}
	return strconv.Atoi(g.Gid)
}
