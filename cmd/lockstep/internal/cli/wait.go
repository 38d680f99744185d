package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/tty"
)

// waiter tells whoever waits where they stand: on a terminal one line that is kept
// up to date and wiped at the end; elsewhere nothing, unless -v asks for a line per
// change.
type waiter struct {
	out   io.Writer
	lines bool // -v: a line per change
	live  bool // a terminal
	width int
	start time.Time

	mu    sync.Mutex // guards the rest, and out
	at    lockstep.Progress
	seen  time.Time // of at
	drawn bool
	said  string
	ended bool
	tick  *time.Ticker
	done  chan struct{}
	task  sync.WaitGroup
}

func (a *app) waiter() *waiter {
	w := &waiter{out: a.err, start: time.Now(), lines: a.verbose && !a.json, done: make(chan struct{})}
	if !w.lines && !a.json && tty.IsTerminal(a.err) {
		w.live, w.width = true, tty.Width(a.err)
		w.tick = time.NewTicker(time.Second)
		w.task.Go(w.redraw)
	}
	return w
}

// shows reports whether anybody looks: following the line costs a watch.
func (w *waiter) shows() bool { return w.live || w.lines }

func (w *waiter) waited() time.Duration { return brief(time.Since(w.start)) }

func (w *waiter) progress(p lockstep.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.at, w.seen = p, time.Now()
	w.draw()
}

// redraw keeps the times going.
func (w *waiter) redraw() {
	for {
		select {
		case <-w.done:
			return
		case <-w.tick.C:
			w.mu.Lock()
			w.draw()
			w.mu.Unlock()
		}
	}
}

// draw writes the line as it is now. w.mu is held.
func (w *waiter) draw() {
	if w.ended || w.seen.IsZero() {
		return
	}
	if w.lines {
		if text := w.text(0); text != w.said {
			fmt.Fprintf(w.out, "lockstep: %s\n", text)
			w.said = text
		}
		return
	}
	text := []rune(w.text(time.Since(w.seen)))
	if len(text) >= w.width {
		text = append(text[:max(w.width-2, 0)], '…')
	}
	fmt.Fprintf(w.out, "\r\x1b[K%s", string(text))
	w.drawn = true
}

func (w *waiter) text(since time.Duration) string {
	text := fmt.Sprintf("waiting for %q, %s in line", w.at.Name, ordinal(w.at.Place))
	if w.live {
		text += fmt.Sprintf(", %v so far", brief(time.Since(w.start)))
	}
	line := w.at.Line
	if len(line.Holders) == 0 {
		return text
	}
	h := line.Holders[0]
	text += "; held by " + who(h)
	if h.Age > 0 && w.live {
		text += fmt.Sprintf(" for %v", brief(h.Age+since))
	}
	if more := len(line.Holders) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// end wipes the line; nothing is written after it.
func (w *waiter) end() {
	w.mu.Lock()
	ended := w.ended
	w.ended = true
	if w.drawn {
		fmt.Fprint(w.out, "\r\x1b[K")
		w.drawn = false
	}
	w.mu.Unlock()
	if ended {
		return
	}
	close(w.done)
	if w.tick != nil {
		w.tick.Stop()
	}
	w.task.Wait()
}

func ordinal(n int) string {
	suffix := "th"
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		suffix = "st"
	case n%10 == 2:
		suffix = "nd"
	case n%10 == 3:
		suffix = "rd"
	}
	return fmt.Sprint(n, suffix)
}
