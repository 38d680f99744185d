package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/tty"
	"github.com/lockstep-go/lockstep/engine"
)

const doctorHelp = `Examines how an engine's service is set up, and reports what makes it unsafe for
locks: each finding with what it means and what to do. What this user may not look at
is a note. It changes nothing, and takes a second or two.

Exits 0 when nothing is dangerous (warnings and notes are no danger), 1 when something
is, and 69 when the service could not be examined.`

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "doctor [URL]",
		Short:             "Examine a service for what makes it unsafe for locks",
		Long:              doctorHelp,
		Example:           "  lockstep doctor redis://10.0.0.1:6379\n  lockstep doctor --json | jq '.findings[] | select(.level == \"danger\")'",
		Args:              between(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.timeoutFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.bounded(cmd.Context())
		defer cancel()
		if len(args) > 0 {
			a.engine = args[0]
		}
		raw, findings, err := a.examine(ctx)
		if err != nil {
			return err
		}
		if err := a.report(withoutPassword(raw), findings); err != nil {
			return err
		}
		if worst(findings) == engine.LevelDanger {
			return quit(codeDanger)
		}
		return nil
	}
	return cmd
}

// examine opens no client: a service that cannot be used is examined too.
func (a *app) examine(ctx context.Context) (raw string, findings []engine.Finding, err error) {
	if raw, err = a.url(); err != nil {
		return "", nil, err
	}
	target, err := a.target(raw)
	if err != nil {
		return "", nil, err
	}
	a.note("engine %s", withoutPassword(raw))
	if findings, err = drivers.Examine(ctx, target); err != nil {
		return "", nil, fmt.Errorf("engine %s: %w", withoutPassword(raw), err)
	}
	return raw, findings, nil
}

func worst(findings []engine.Finding) engine.Level {
	level := engine.LevelOK
	for _, f := range findings {
		level = max(level, f.Level)
	}
	return level
}

// jsonFinding is one thing that was looked at.
type jsonFinding struct {
	Level engine.Level `json:"level"`
	What  string       `json:"what"`
	Why   string       `json:"why,omitempty"`
	Fix   string       `json:"fix,omitempty"`
}

func (a *app) report(url string, findings []engine.Finding) error {
	if a.json {
		all := make([]jsonFinding, len(findings))
		for i, f := range findings {
			all[i] = jsonFinding(f)
		}
		return a.printJSON(struct {
			Engine   string        `json:"engine"`
			Worst    engine.Level  `json:"worst"`
			Findings []jsonFinding `json:"findings"`
		}{url, worst(findings), all})
	}
	p := findingsPrinter{width: width(a.out), colour: tty.Colour(a.out)}
	p.print(url, findings)
	_, err := a.out.WriteString(p.text.String())
	return err
}

// width is how broad text may be; what is no terminal gets what fits most.
func width(out *os.File) int {
	if tty.IsTerminal(out) {
		return min(max(tty.Width(out), 40), 100)
	}
	return 80
}

// findingsPrinter writes findings for people, the worst first, one group a level.
type findingsPrinter struct {
	text   strings.Builder
	width  int
	colour bool
}

// The colours of levels; the words say the same.
var levelColours = map[engine.Level]string{
	engine.LevelDanger: "\x1b[1;31m", engine.LevelWarning: "\x1b[33m", engine.LevelNote: "\x1b[36m", engine.LevelOK: "\x1b[32m",
}

func (p *findingsPrinter) print(url string, findings []engine.Finding) {
	fmt.Fprintf(&p.text, "%s\n", shown(url))
	for _, level := range []engine.Level{engine.LevelDanger, engine.LevelWarning, engine.LevelNote, engine.LevelOK} {
		p.group(level, findings)
	}
}

func (p *findingsPrinter) group(level engine.Level, findings []engine.Finding) {
	first := true
	for _, f := range findings {
		if f.Level != level {
			continue
		}
		if first {
			p.heading(level)
			first = false
		}
		p.wrapped("  ", f.What)
		if f.Why != "" {
			p.wrapped("      ", f.Why)
		}
		if f.Fix != "" {
			p.wrapped("      → ", f.Fix)
		}
	}
}

func (p *findingsPrinter) heading(level engine.Level) {
	text := level.String()
	if p.colour {
		text = levelColours[level] + text + "\x1b[0m"
	}
	fmt.Fprintf(&p.text, "\n%s\n", text)
}

// wrapped writes one paragraph; its further lines stand under its first. Text from
// the server has nothing in it that moves a terminal's cursor.
func (p *findingsPrinter) wrapped(indent, paragraph string) {
	next := strings.Repeat(" ", utf8.RuneCountInString(indent))
	line, empty := indent, true
	for word := range strings.FieldsSeq(paragraph) {
		if word = shown(word); !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > p.width {
			p.text.WriteString(line + "\n")
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	p.text.WriteString(line + "\n")
}
