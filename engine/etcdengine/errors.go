package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lockstep-go/lockstep/engine"
)

type timeoutError time.Duration

func errTimeout(d time.Duration) error { return timeoutError(d) }

func (t timeoutError) Error() string {
	return fmt.Sprintf("etcd: no answer within %v: is there a quorum?", time.Duration(t))
}

// explain turns an error into what the caller can act on: what somebody must repair
// is ErrUnusable, and the sentence says what would be right. What heals by itself (no
// leader, a member that went away) stays an unknown outcome, and is asked again.
func (e *Engine) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case e.ctx.Err() != nil:
		return engine.ErrClosed
	case ctx.Err() != nil:
		if cause, ok := errors.AsType[timeoutError](context.Cause(ctx)); ok {
			return cause
		}
		return ctx.Err()
	}
	return explain(err)
}

func explain(err error) error {
	err = rpctypes.Error(err)
	for _, r := range repairs {
		if errors.Is(err, r.err) {
			return fmt.Errorf("%w: %s (%w)", engine.ErrUnusable, r.what, err)
		}
	}
	switch {
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: the server takes no request as large as this one (--max-request-bytes) (%w)", engine.ErrInvalid, err)
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: the server takes no transaction of so many operations (--max-txn-ops) (%w)", engine.ErrInvalid, err)
	case status.Code(err) == codes.Unimplemented:
		return fmt.Errorf("%w: this is no etcd 3.4 or newer (%w)", engine.ErrUnusable, err)
	}
	return err
}

// repairs are refusals for certain: the server says them before it does anything.
var repairs = []struct {
	err  error
	what string
}{
	{rpctypes.ErrNoSpace, "the database is full: compact it and defragment it, then `etcdctl alarm disarm`"},
	{rpctypes.ErrAuthFailed, "the server does not take this user or password"},
	{rpctypes.ErrUserEmpty, "the server wants a user and a password"},
	{rpctypes.ErrPermissionDenied, "this user may not do it: grant its role readwrite on the keys (see the engine's page)"},
	{rpctypes.ErrCorrupt, "the members' data differ: etcd has raised the alarm CORRUPT"},
}

// cancelled is why the server ended a watch, which it says in words only.
func cancelled(reason string) error {
	for _, r := range repairs {
		if strings.HasSuffix(reason, r.err.Error()) {
			return r.err
		}
	}
	return fmt.Errorf("etcd: the watch was cancelled: %s", reason)
}
