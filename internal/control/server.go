package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a connection.
const (
	requestTime = 5 * time.Second  // for the request to arrive
	writeTime   = 10 * time.Minute // for a reader that does not read, such as a pager
	maxClients  = 32               // at the same time
)

// Handler answers one request and returns the exit code. It is called from many goroutines at once. ctx ends
// when the client is gone or the server stops; a write then fails.
type Handler func(ctx context.Context, r Request, stdout, stderr io.Writer) int

// Server answers on one socket.
type Server struct {
	path     string
	listener *net.UnixListener
	lock     *os.File
	refused  atomic.Uint64
	slots    chan struct{}
}

// Serve listens on path and answers until ctx ends: Listen and Server.Serve in one.
func Serve(ctx context.Context, path, group string, handle Handler) error {
	s, err := Listen(path, group)
	if err != nil {
		return err
	}
	return s.Serve(ctx, handle)
}

// Refused counts the requests that were malformed, late, or too many at once.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Serve answers until ctx ends, waits for the handlers, and removes the socket.
func (s *Server) Serve(ctx context.Context, handle Handler) error {
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	for {
		conn, err := s.listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("control: %w", err)
		}
		if err != nil { // EMFILE and the like, which pass
			time.Sleep(50 * time.Millisecond)
			continue
		}
		clients.Go(func() { s.answer(ctx, conn, handle) })
	}
}

// Close gives the socket up. Serve does it by itself.
func (s *Server) Close() {
	s.listener.Close() // removes the socket
	s.lock.Close()
}

// answer serves one connection.
func (s *Server) answer(ctx context.Context, conn net.Conn, handle Handler) {
	defer conn.Close()
	out := &frames{w: patient{conn}}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.refuse(out, fmt.Errorf("control: %d requests are being answered already: try again", maxClients))
		return
	}
	pid, root := peerOf(conn)
	r, err := readRequest(conn, root)
	if err != nil {
		s.refuse(out, err)
		return
	}
	r.PID, r.Root = pid, root
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	go watch(conn, cancel)
	code := handle(ctx, r, stream{out, kindStdout}, stream{out, kindStderr})
	if stop() {
		_ = out.exit(code)
	}
}

// watch cancels when the client hangs up: it sends nothing after its request. It ends with the connection.
func watch(conn net.Conn, cancel func()) {
	_, _ = io.Copy(io.Discard, conn)
	cancel()
}

func (s *Server) refuse(out *frames, err error) {
	s.refused.Add(1)
	_ = out.write(kindStderr, []byte(err.Error()+"\n"))
	_ = out.exit(ExitRefused)
}

// readRequest reads the line, and what files come with it. Only root's are taken: a file may be one that stops who touches it.
func readRequest(conn net.Conn, root bool) (r Request, err error) {
	in := &withFiles{conn: conn.(*net.UnixConn), take: root}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	_ = conn.SetReadDeadline(time.Now().Add(requestTime))
	line, err := bufio.NewReaderSize(io.LimitReader(in, maxRequest+1), maxRequest+1).ReadSlice('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Request{}, fmt.Errorf("control: no request within %s", requestTime)
	case err != nil && len(line) > maxRequest:
		return Request{}, fmt.Errorf("control: the request is longer than %d bytes", maxRequest)
	case err != nil:
		return Request{}, fmt.Errorf("control: the request is not a whole line: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	r, err = ParseRequest(line)
	r.Files = in.files
	return r, err
}

// patient gives each write its time.
type patient struct{ net.Conn }

func (p patient) Write(b []byte) (int, error) {
	_ = p.SetWriteDeadline(time.Now().Add(writeTime))
	return p.Conn.Write(b)
}
