package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep"
)

// The exit codes beside the child's own. 64, 69, 70 and 75 are those of sysexits(3).
const (
	codeOK          = 0
	codeAbsent      = 1  // get: there is no such entry
	codeDanger      = 1  // doctor: something is dangerous
	codeUsage       = 64 // bad flags, names, URLs
	codeUnavailable = 69 // the engine cannot be reached or used
	codeLost        = 70 // what was held was lost, and the child stopped
	codeHeld        = 75 // it was not acquired, or waited for in vain
)

// exitError ends the command with a code; with an error it says that as well.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{codeUsage, fmt.Errorf(format, args...)}
}

// quit ends the command with a code and no further word.
func quit(code int) error { return &exitError{code: code} }

// verdict is what this command says of an error, where it does: beside it the library
// says the same in its own words.
func verdict(err error) error {
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit
	}
	return err
}

// codeOf is the exit code that says what err says.
func codeOf(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, lockstep.ErrInvalid):
		return codeUsage
	case errors.Is(err, lockstep.ErrHeld):
		return codeHeld
	case errors.Is(err, lockstep.ErrLost):
		return codeLost
	case errors.Is(err, lockstep.ErrNotFound):
		return codeAbsent
	default:
		return codeUnavailable
	}
}

// exit says what went wrong, in one line, and returns the code.
func (a *app) exit(err error) int {
	code := codeOf(err)
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil {
		return code
	}
	a.complain(code, plain(err))
	return code
}

// complain is one line on standard error.
func (a *app) complain(code int, text string) {
	if a.json {
		_ = printJSON(a.err, struct { // standard error is the last place to complain
			Error string `json:"error"`
			Code  int    `json:"code"`
		}{text, code})
		return
	}
	fmt.Fprintf(a.err, "lockstep: %s\n", text)
}

// note is a line for whoever asked for -v.
func (a *app) note(format string, args ...any) {
	if a.verbose {
		fmt.Fprintf(a.err, "lockstep: "+format+"\n", args...)
	}
}

// plain is an error's text as one line without the package's own name in it.
func plain(err error) string {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, lockstep.ErrUnavailable) {
		return "no answer from the engine within --timeout"
	}
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	return strings.ReplaceAll(text, "lockstep: ", "")
}
