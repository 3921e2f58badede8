package daemon

import (
	"log/slog"
	"sync"
	"time"
)

// seldom logs what anybody may cause at any rate: once a second, with how often it was left out. Safe for
// concurrent use.
type seldom struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (s *seldom) tell(log *slog.Logger, text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last) < time.Second {
		s.skipped++
		return
	}
	log.Warn(text, "error", err, "more", s.skipped)
	s.last, s.skipped = time.Now(), 0
}
