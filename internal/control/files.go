package control

import (
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// send sends a request, and files with it, which stay the caller's.
func send(conn *net.UnixConn, line []byte, files []*os.File) error {
	if len(files) == 0 {
		_, err := conn.Write(line)
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	n, _, err := conn.WriteMsgUnix(line, unix.UnixRights(fds...), nil)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	return err
}

// withFiles reads a connection and takes the files that come with what it reads, if it is to.
type withFiles struct {
	conn  *net.UnixConn
	take  bool
	files []*os.File
	oob   [64]byte // more than CMSG_SPACE(maxFiles * 4); the kernel gives no more than fit
}

func (w *withFiles) Read(b []byte) (int, error) {
	if !w.take {
		return w.conn.Read(b) // the kernel gives up what comes with it
	}
	n, oobn, _, _, err := w.conn.ReadMsgUnix(b, w.oob[:unix.CmsgSpace(4*maxFiles)])
	switch {
	case err != nil:
		return 0, err // n is -1
	case n == 0:
		return 0, io.EOF
	}
	if messages, e := unix.ParseSocketControlMessage(w.oob[:oobn]); e == nil {
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				w.files = append(w.files, os.NewFile(uintptr(fd), "given"))
			}
		}
	}
	if len(w.files) > maxFiles {
		return 0, fmt.Errorf("more than %d files come with it", maxFiles)
	}
	return n, nil
}

func (w *withFiles) close() {
	for _, f := range w.files {
		f.Close()
	}
}
