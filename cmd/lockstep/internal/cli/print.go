package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lockstep-go/lockstep"
)

// The names of JSON fields are part of the command's interface; docs/command.md
// lists them.

func (a *app) printJSON(v any) error { return printJSON(a.out, v) }

// printJSON writes one object as one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// jsonPlace is a holder or waiter.
type jsonPlace struct {
	ID      lockstep.ClaimID `json:"id"`
	Note    string           `json:"note"`
	Token   lockstep.Token   `json:"token,omitempty,string"` // text: beyond 2^53 many readers of JSON round
	Shares  int              `json:"shares"`
	AgeMS   int64            `json:"age_ms"`
	Foreign bool             `json:"foreign,omitempty"`
}

// jsonLine is a name with everybody in its line.
type jsonLine struct {
	Name    string      `json:"name"`
	Kind    string      `json:"kind,omitempty"` // absent: nobody is in line
	Limit   int         `json:"limit,omitempty"`
	Holders []jsonPlace `json:"holders"`
	Waiters []jsonPlace `json:"waiters"`
}

func toJSON(l lockstep.Line) jsonLine {
	j := jsonLine{Name: l.Name, Limit: l.Limit, Holders: places(l.Holders), Waiters: places(l.Waiters)}
	if l.Kind != 0 {
		j.Kind = l.Kind.String()
	}
	return j
}

func places(ps []lockstep.Place) []jsonPlace {
	out := make([]jsonPlace, len(ps))
	for i, p := range ps {
		out[i] = jsonPlace{p.ID, string(p.Note), p.Token, p.Shares, p.Age.Milliseconds(), p.Foreign}
	}
	return out
}

// jsonValue is a value: as text where it is text, else in base64.
type jsonValue struct {
	Value  *string `json:"value,omitempty"`
	Base64 []byte  `json:"value_base64,omitempty"`
}

func valueJSON(v []byte) jsonValue {
	if !utf8.Valid(v) {
		return jsonValue{Base64: v}
	}
	s := string(v)
	return jsonValue{Value: &s}
}

// shown is text from elsewhere as a terminal may have it: quoted where it holds
// anything but plain characters.
func shown(s string) string {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// who is a holder or waiter by its note.
func who(p lockstep.Place) string {
	switch {
	case len(p.Note) > 0:
		return shown(string(p.Note))
	case p.Foreign:
		return "another program's library"
	}
	return "claim " + shown(string(p.ID))
}

// whoHolds is everybody who holds, with their time; "" for nobody.
func whoHolds(l lockstep.Line) string {
	if len(l.Holders) == 0 {
		return ""
	}
	h := l.Holders[0]
	text := who(h)
	if h.Age > 0 {
		text += fmt.Sprintf(", for %v", brief(h.Age))
	}
	if more := len(l.Holders) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// brief is a duration as people read it.
func brief(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func joined(tokens []lockstep.Token, sep string) string {
	parts := make([]string, len(tokens))
	for i, t := range tokens {
		parts[i] = strconv.FormatUint(uint64(t), 10)
	}
	return strings.Join(parts, sep)
}

func quoted(names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = strconv.Quote(n)
	}
	return strings.Join(parts, ", ")
}
