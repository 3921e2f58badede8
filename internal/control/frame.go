package control

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Frame kinds.
const (
	kindStdout byte = 'o'
	kindStderr byte = 'e'
	kindExit   byte = 'x' // four bytes, the exit code; the last frame
)

const (
	headerSize = 5
	maxFrame   = 32 << 10 // bytes of payload, the most that a reader accepts
)

// frames writes frames to one connection, from any goroutine.
type frames struct {
	mu     sync.Mutex
	w      io.Writer
	buffer []byte
}

// write sends p as frames of one kind.
func (f *frames) write(kind byte, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(p) > 0 {
		n := min(len(p), maxFrame)
		f.buffer = append(f.buffer[:0], kind)
		f.buffer = binary.BigEndian.AppendUint32(f.buffer, uint32(n))
		f.buffer = append(f.buffer, p[:n]...)
		if _, err := f.w.Write(f.buffer); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (f *frames) exit(code int) error {
	return f.write(kindExit, binary.BigEndian.AppendUint32(nil, uint32(int32(code))))
}

// stream is the handler's standard output or standard error.
type stream struct {
	frames *frames
	kind   byte
}

func (s stream) Write(p []byte) (int, error) {
	if err := s.frames.write(s.kind, p); err != nil {
		return 0, fmt.Errorf("control: answer: %w", err)
	}
	return len(p), nil
}

// copyFrames hands an answer on until its exit code.
func copyFrames(r io.Reader, stdout, stderr io.Writer) (exit int, err error) {
	var header [headerSize]byte
	var payload [maxFrame]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return ExitNotRunning, fmt.Errorf("control: the answer was cut short, the daemon may have stopped: %w", err)
		}
		n := binary.BigEndian.Uint32(header[1:])
		if n > maxFrame {
			return ExitRefused, fmt.Errorf("control: answer: a frame of %d bytes, at most %d are allowed: is this ctsync's socket?", n, maxFrame)
		}
		p := payload[:n]
		if _, err := io.ReadFull(r, p); err != nil {
			return ExitNotRunning, fmt.Errorf("control: the answer was cut short, the daemon may have stopped: %w", err)
		}
		switch {
		case header[0] == kindStdout:
			_, err = stdout.Write(p)
		case header[0] == kindStderr:
			_, err = stderr.Write(p)
		case header[0] == kindExit && n == 4:
			return int(int32(binary.BigEndian.Uint32(p))), nil
		default:
			return ExitRefused, fmt.Errorf("control: answer: unknown frame %q: is this ctsync's socket?", header[0])
		}
		if err != nil {
			return ExitRefused, err
		}
	}
}
