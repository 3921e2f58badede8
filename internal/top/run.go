package top

import (
	"context"
	"fmt"
	"time"

	"github.com/gdamore/tcell/v2"
)

// Refresh is how often the daemon is asked.
const Refresh = time.Second

// Sources are what is shown.
type Sources struct {
	Status func(context.Context) (*Status, error)

	// Events follows a journal until its context ends; nil or an error at once: there is none.
	Events func(ctx context.Context, deliver func(Event)) error
}

// Run shows the view on the process's terminal until ctx ends or q is pressed.
func Run(ctx context.Context, from Sources) error {
	screen, err := tcell.NewScreen()
	if err == nil {
		err = screen.Init()
	}
	if err != nil {
		return fmt.Errorf("top: %w: this terminal cannot be used (is TERM right?); `watch ctsync status` works in any", err)
	}
	defer screen.Fini()
	return show(ctx, screen, from)
}

type answer struct {
	at  time.Time
	st  *Status
	err error
}

// show is Run on a screen that is ready.
func show(ctx context.Context, screen tcell.Screen, from Sources) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var m Model
	keys, quit := make(chan tcell.Event, 16), make(chan struct{})
	defer close(quit)
	go screen.ChannelEvents(keys, quit)
	answers := make(chan answer)
	go ask(ctx, from, answers)
	happened, none := make(chan Event, lastLines), make(chan struct{}, 1)
	go follow(ctx, from, happened, none)
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-answers:
			m.Answer(a.at, a.st, a.err)
		case e := <-happened:
			m.Happened(e)
		case <-none:
			m.Observe()
		case key, open := <-keys:
			if !open || quits(key) {
				return nil
			}
			if _, resized := key.(*tcell.EventResize); resized {
				screen.Sync()
			}
		}
		paint(screen, &m)
	}
}

func quits(e tcell.Event) bool {
	key, ok := e.(*tcell.EventKey)
	return ok && (key.Rune() == 'q' || key.Rune() == 'Q' || key.Key() == tcell.KeyCtrlC || key.Key() == tcell.KeyEscape)
}

func ask(ctx context.Context, from Sources, answers chan<- answer) {
	tick := time.NewTicker(Refresh)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, 3*Refresh)
		st, err := from.Status(limited)
		cancel()
		select {
		case <-ctx.Done():
			return
		case answers <- answer{time.Now(), st, err}:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func follow(ctx context.Context, from Sources, happened chan<- Event, none chan<- struct{}) {
	err := ErrNoJournal
	if from.Events != nil {
		err = from.Events(ctx, func(e Event) {
			select {
			case happened <- e:
			case <-ctx.Done():
			}
		})
	}
	if err != nil && ctx.Err() == nil {
		none <- struct{}{}
	}
}

var styles = map[Style]tcell.Style{
	Plain: tcell.StyleDefault,
	Bold:  tcell.StyleDefault.Bold(true),
	Head:  tcell.StyleDefault.Reverse(true),
	Good:  tcell.StyleDefault.Foreground(tcell.ColorGreen),
	Bad:   tcell.StyleDefault.Foreground(tcell.ColorRed).Bold(true),
	Dim:   tcell.StyleDefault.Dim(true),
}

// paint puts a frame on the screen.
func paint(screen tcell.Screen, m *Model) {
	width, height := screen.Size()
	screen.Clear()
	for y, line := range m.Frame(width, height) {
		x := 0
		for _, s := range line {
			for _, r := range s.Text {
				screen.SetContent(x, y, r, nil, styles[s.Style])
				x++
			}
		}
		if len(line) > 0 && line[0].Style == Head { // to the edge
			for ; x < width; x++ {
				screen.SetContent(x, y, ' ', nil, styles[Head])
			}
		}
	}
	screen.Show()
}
