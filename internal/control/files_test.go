package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFiles: what goes with a request is the handler's.
func TestFiles(t *testing.T) {
	_, path := serve(t, func(_ context.Context, r Request, stdout, _ io.Writer) int {
		for i, f := range r.Files {
			fmt.Fprintf(f, "file %d", i)
			f.Close()
		}
		fmt.Fprintf(stdout, "%d files, root %v", len(r.Files), r.Root)
		return 0
	})
	var ends, files []*os.File
	for range maxFiles {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ends, files = append(ends, r), append(files, w)
	}
	var out bytes.Buffer
	if exit, err := Call(t.Context(), path, Request{Verb: []string{"take"}, Files: files}, &out, io.Discard); exit != 0 || err != nil {
		t.Fatal(exit, err)
	}
	if want := fmt.Sprintf("%d files, root %v", maxFiles, os.Geteuid() == 0); out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
	for i, f := range files {
		f.Close()
		if b, err := io.ReadAll(ends[i]); string(b) != fmt.Sprintf("file %d", i) || err != nil {
			t.Errorf("file %d has %q, %v", i, b, err)
		}
	}
}

// TestFilesOfARefusedRequest are closed: at one that is malformed, and where there are too many.
func TestFilesOfARefusedRequest(t *testing.T) {
	_, path := serve(t, echo)
	good, err := json.Marshal(Request{Verb: []string{"take"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line     string
		messages int
	}{{"nonsense\n", 1}, {string(good) + "\n", 2}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range c.messages {
			part := c.line[i*len(c.line)/c.messages : (i+1)*len(c.line)/c.messages]
			if err := send(conn.(*net.UnixConn), []byte(part), []*os.File{w, w, w}); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		answer, err := io.ReadAll(conn)
		if err != nil || !bytes.Contains(answer, []byte("control:")) {
			t.Errorf("%d messages: %q, %v", c.messages, answer, err)
		}
		ended := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(ended, int((5 * time.Second).Milliseconds())); n != 1 || err != nil {
			t.Errorf("%d messages: a file is still open: %d, %v", c.messages, n, err)
		}
	}
}

// TestSilentClient: who sends no whole line in time is told, and nothing else happens.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	_, path := serve(t, echo)
	for _, some := range []string{"", "{"} {
		t.Run(some, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(some)); err != nil {
				t.Fatal(err)
			}
			if answer, err := io.ReadAll(conn); err != nil || !bytes.Contains(answer, []byte("no request within")) {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}
