package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep"
)

// Screen is where the timeline goes.
type Screen struct {
	Out    io.Writer
	Colour bool
	JSON   bool // one object per event in place of the picture
}

// event is a line of the timeline.
type event struct {
	at     time.Duration // since the start
	worker string
	kind   string
	token  lockstep.Token
	took   time.Duration // of a hand-over
	text   string        // for people
}

// The kinds of events.
const (
	evHolds   = "holds"
	evStored  = "stored"
	evKilled  = "killed"
	evFrozen  = "frozen"
	evThawed  = "thawed"
	evRefused = "refused"
	evLost    = "lost"
)

// lanes draws what each worker does at the moment of a line.
type lanes struct {
	names []string
	state map[string]rune
	sign  glyphs
}

type glyphs struct {
	holds, waits, frozen, dead rune
}

func signs() glyphs {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(os.Getenv(name)); v != "" {
			if strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8") {
				return glyphs{'●', '·', '■', '✗'}
			}
			break
		}
	}
	return glyphs{'#', '.', '=', 'x'}
}

func newLanes(names ...string) *lanes {
	l := &lanes{names: names, state: map[string]rune{}, sign: signs()}
	for _, n := range names {
		l.state[n] = ' '
	}
	return l
}

// Colours of a terminal.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "36"
)

func (s Screen) paint(colour, text string) string {
	if !s.Colour || colour == plain {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s Screen) say(format string, args ...any) {
	if !s.JSON {
		fmt.Fprintf(s.Out, format+"\n", args...)
	}
}

func (s Screen) head(l *lanes) {
	s.say("%s", s.paint(dim, "     time   "+strings.Join(l.names, "  ")+"   "+
		fmt.Sprintf("%c holds  %c waits  %c frozen  %c killed", l.sign.holds, l.sign.waits, l.sign.frozen, l.sign.dead)))
}

// scene is a heading between the lines.
func (s Screen) scene(text string) { s.say("\n  %s", s.paint(bold, text)) }

func (s Screen) show(l *lanes, e event) {
	if s.JSON {
		s.object(e)
		return
	}
	var row strings.Builder
	for _, n := range l.names {
		sign := l.state[n]
		row.WriteString(s.paint(l.colour(sign), string(sign)) + "  ")
	}
	token := ""
	if e.token != 0 {
		token = s.paint(dim, fmt.Sprintf("token %d", e.token))
	}
	text := s.paint(colourOf(e.kind), e.text)
	if token != "" {
		text += strings.Repeat(" ", max(46-len(e.text), 1)) + token // the texts are ASCII
	}
	s.say("  %7.3fs   %s %s", e.at.Seconds(), row.String(), text)
}

func (l *lanes) colour(sign rune) string {
	switch sign {
	case l.sign.holds:
		return green
	case l.sign.frozen:
		return blue
	case l.sign.dead:
		return red
	}
	return dim
}

func colourOf(kind string) string {
	switch kind {
	case evHolds:
		return green
	case evKilled:
		return red
	case evFrozen, evThawed:
		return blue
	case evRefused, evLost:
		return yellow
	}
	return plain
}

func (s Screen) object(e event) {
	line, err := json.Marshal(struct {
		MS     float64        `json:"ms"`
		Worker string         `json:"worker"`
		Event  string         `json:"event"`
		Token  lockstep.Token `json:"token,omitempty,string"`
		TookMS float64        `json:"took_ms,omitempty"`
	}{millis(e.at), e.worker, e.kind, e.token, millis(e.took)})
	if err == nil { // nothing in it can fail
		fmt.Fprintf(s.Out, "%s\n", line)
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// took is a hand-over's time as people read it.
func took(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	if d >= 10*time.Millisecond {
		return fmt.Sprintf("%.0f ms", millis(d))
	}
	return fmt.Sprintf("%.1f ms", millis(d))
}
