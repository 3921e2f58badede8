package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve runs a server for the test's time.
func serve(t *testing.T, handle Handler) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	s, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return s, path
}

func echo(_ context.Context, r Request, stdout, stderr io.Writer) int {
	fmt.Fprintf(stdout, "%s as %s\n", strings.Join(r.Verb, " "), r.Output)
	fmt.Fprintln(stderr, "a warning")
	return 3
}

func TestCall(t *testing.T) {
	_, path := serve(t, echo)
	for range 3 {
		var stdout, stderr bytes.Buffer
		exit, err := Call(t.Context(), path, Request{Verb: []string{"show", "status"}}, &stdout, &stderr)
		if err != nil || exit != 3 {
			t.Fatalf("exit %d, %v", exit, err)
		}
		if stdout.String() != "show status as text\n" || stderr.String() != "a warning\n" {
			t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNotRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	exit, err := Call(t.Context(), path, Request{Verb: []string{"status"}}, io.Discard, io.Discard)
	if exit != ExitNotRunning || !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "systemctl start") {
		t.Errorf("exit %d, %v", exit, err)
	}
}

func TestGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	s, err := Listen(path, fmt.Sprint(os.Getgid()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path+"2", "no-such-group"); err == nil || !strings.Contains(err.Error(), "no-such-group") {
		t.Errorf("unknown group: %v", err)
	}
}

func TestSecondDaemon(t *testing.T) {
	_, path := serve(t, echo)
	_, err := Listen(path, "")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a second daemon: %v", err)
	}
	if exit, err := Call(t.Context(), path, Request{Verb: []string{"x"}}, io.Discard, io.Discard); exit != 3 || err != nil {
		t.Errorf("the first was harmed: %d, %v", exit, err)
	}
}

// TestLock: the lock alone tells a living daemon, as when its socket was removed by hand.
func TestLock(t *testing.T) {
	_, path := serve(t, echo)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	defer os.Rename(path+".away", path)
	if s, err := Listen(path, ""); err == nil || !strings.Contains(err.Error(), "serves "+path+" already") {
		t.Errorf("a second daemon: %v", err)
		if err == nil {
			s.Close()
		}
	}
}

// TestUnlockedDaemon lives on the socket without the lock.
func TestUnlockedDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(path, ""); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("took a living socket: %v", err)
	}
}

func TestStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := Listen(path, "")
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	s.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, ""); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a regular file: %v", err)
	}
}

func TestLongPath(t *testing.T) {
	if _, err := Listen("/"+strings.Repeat("x", maxPath), ""); err == nil || !strings.Contains(err.Error(), "107 are allowed") {
		t.Errorf("a path of 108 bytes: %v", err)
	}
}

// TestStartTogether: of many that start at once over a stale socket exactly one wins.
func TestStartTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	var mu sync.Mutex
	var won []*Server
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if s, err := Listen(path, ""); err == nil {
				mu.Lock()
				won = append(won, s)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d daemons on one socket", len(won))
	}
	for _, s := range won {
		s.Close()
	}
}

// TestMalformed sends what is no request; each is answered, counted, and harms nothing.
func TestMalformed(t *testing.T) {
	s, path := serve(t, echo)
	for want, text := range map[string]string{
		"invalid character": "show status\n",
		"1 to 64":           `{"verb":[]}` + "\n",
		"unknown field":     `{"verb":["a"],"shout":true}` + "\n",
		"one JSON object":   `{"verb":["a"]} {}` + "\n",
		"text and json":     `{"verb":["a"],"output":"xml"}` + "\n",
		"not a whole line":  `{"verb":["a"]}`,
		"longer than 65536": strings.Repeat("x", maxRequest+2),
		"cannot unmarshal":  `["show"]` + "\n",
	} {
		before := s.Refused()
		got := raw(t, path, text)
		if !strings.Contains(got, want) {
			t.Errorf("answer to %.30q: %q, want %q in it", text, got, want)
		}
		if s.Refused() != before+1 {
			t.Errorf("%.30q was not counted", text)
		}
	}
	if exit, err := Call(t.Context(), path, Request{Verb: []string{"x"}}, io.Discard, io.Discard); exit != 3 || err != nil {
		t.Errorf("afterwards: %d, %v", exit, err)
	}
}

// raw sends text, ends the sending side, and returns the answer's bytes.
func raw(t *testing.T, path, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
	_ = conn.(*net.UnixConn).CloseWrite()
	var stderr bytes.Buffer
	exit, err := copyFrames(conn, io.Discard, &stderr)
	if err != nil || exit != ExitRefused {
		t.Errorf("%.30q: exit %d, %v", text, exit, err)
	}
	return stderr.String()
}

// TestLargeAnswer streams more than anybody should hold, in constant memory.
func TestLargeAnswer(t *testing.T) {
	const size = 256 << 20
	_, path := serve(t, func(_ context.Context, _ Request, stdout, _ io.Writer) int {
		chunk := make([]byte, 100_000)
		for left := size; left > 0; left -= len(chunk) {
			if _, err := stdout.Write(chunk[:min(left, len(chunk))]); err != nil {
				return 1
			}
		}
		return 0
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var n counter
	exit, err := Call(t.Context(), path, Request{Verb: []string{"show"}}, &n, io.Discard)
	runtime.ReadMemStats(&after)
	if exit != 0 || err != nil || n != size {
		t.Errorf("exit %d, %v, %d bytes", exit, err, n)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes allocated for it", grown)
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// TestClientGone: the handler learns that nobody waits.
func TestClientGone(t *testing.T) {
	gone := make(chan struct{})
	_, path := serve(t, func(ctx context.Context, _ Request, _, _ io.Writer) int {
		<-ctx.Done()
		close(gone)
		return 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Call(ctx, path, Request{Verb: []string{"wait-synced"}}, io.Discard, io.Discard)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call: %v", err)
	}
	select {
	case <-gone:
	case <-time.After(2 * time.Second):
		t.Error("the handler still waits")
	}
}

// TestServerGone: an answer that was cut short is an error.
func TestServerGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, func(ctx context.Context, _ Request, stdout, _ io.Writer) int {
			fmt.Fprintln(stdout, "half of it")
			cancel()
			<-ctx.Done()
			return 0
		})
	}()
	exit, err := Call(t.Context(), path, Request{Verb: []string{"x"}}, io.Discard, io.Discard)
	if exit == 0 || err == nil {
		t.Errorf("exit %d, %v: a cut answer passed for a whole one", exit, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTooMany: one more than allowed is told so.
func TestTooMany(t *testing.T) {
	release := make(chan struct{})
	s, path := serve(t, func(_ context.Context, _ Request, _, _ io.Writer) int { <-release; return 0 })
	var wg sync.WaitGroup
	for range maxClients {
		wg.Go(func() { _, _ = Call(context.Background(), path, Request{Verb: []string{"x"}}, io.Discard, io.Discard) })
	}
	for len(s.slots) < maxClients {
		time.Sleep(time.Millisecond)
	}
	var stderr bytes.Buffer
	exit, err := Call(t.Context(), path, Request{Verb: []string{"x"}}, io.Discard, &stderr)
	if exit != ExitRefused || err != nil || !strings.Contains(stderr.String(), "try again") {
		t.Errorf("exit %d, %v, %q", exit, err, &stderr)
	}
	close(release)
	wg.Wait()
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"verb":["show","conntrack-sync","status"],"output":"json"}`))
	f.Add([]byte(`{"verb":["a"]}{}`))
	f.Add([]byte(`{"verb":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRequest(line)
		if err != nil {
			return
		}
		if len(r.Verb) == 0 || len(r.Verb) > maxWords || (r.Output != "text" && r.Output != "json") {
			t.Errorf("%q passed as %+v", line, r)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x02hix\x00\x00\x00\x04\x00\x00\x00\x01"))
	f.Add([]byte("x\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		var stdout bytes.Buffer
		_, _ = copyFrames(bytes.NewReader(answer), &stdout, io.Discard)
		if stdout.Len() > len(answer) {
			t.Errorf("%d bytes out of %d", stdout.Len(), len(answer))
		}
	})
}
