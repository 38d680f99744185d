package sqliteengine

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// Driver opens file:///absolute/dir and file:relative/dir (relative to the
// working directory at Open). It takes no host, user or parameter.
var Driver engine.Driver = fileDriver{}

type fileDriver struct{}

func (fileDriver) Schemes() []string { return []string{"file"} }

func (fileDriver) Open(ctx context.Context, t engine.Target) (engine.Engine, error) {
	path, err := targetPath(t)
	if err != nil {
		return nil, err
	}
	e, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func targetPath(t engine.Target) (string, error) {
	if err := t.CheckParams(); err != nil {
		return "", err
	}
	switch {
	case len(t.Hosts) > 0:
		return "", fmt.Errorf("%w: file: takes no host; a directory is file:///%s/… with three slashes, or file:dir",
			engine.ErrInvalid, strings.Join(t.Hosts, ","))
	case t.User != "" || t.Password != "":
		return "", fmt.Errorf("%w: file: takes no user or password", engine.ErrInvalid)
	case t.Path == "" || t.Path == "/":
		return "", fmt.Errorf("%w: file: wants a directory of its own, as in file:///var/lib/lockstep", engine.ErrInvalid)
	}
	path := t.Path
	// file:///C:/dir
	if runtime.GOOS == "windows" && len(path) > 2 && path[0] == '/' && path[2] == ':' {
		path = path[1:]
	}
	return filepath.FromSlash(path), nil
}
