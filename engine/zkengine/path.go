package zkengine

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lockstep-go/lockstep/engine"
)

// Names are paths below the root (the URL's path): "a/b" and "/a/b" are one place,
// canonical without the slash. What is Lockstep's own lies below own.
const (
	own      = ".lockstep"
	sessions = own + "/sessions" // a node for each session (session.go)
	maps     = own + "/maps"     // a node for each map that was committed to (commit.go)
)

// paths makes paths of names.
type paths struct{ root string } // "" or "/chroot"

func (p paths) of(name string) string { return p.root + "/" + name }

// top is the root as a path.
func (p paths) top() string {
	if p.root == "" {
		return "/"
	}
	return p.root
}

// parent of a path below the top.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// CheckName takes what ZooKeeper takes as a path, and what no claim looks like.
func (e *Engine) CheckName(name string) (string, error) {
	canonical := strings.TrimPrefix(name, "/")
	for element := range strings.SplitSeq(canonical, "/") {
		if why := badElement(element); why != "" {
			return "", fmt.Errorf("%w: ZooKeeper: name %q: %s", engine.ErrInvalid, name, why)
		}
	}
	switch first, _, _ := strings.Cut(canonical, "/"); {
	case first == own:
		return "", fmt.Errorf("%w: ZooKeeper: name %q: %s is Lockstep's own", engine.ErrInvalid, name, own)
	case first == "zookeeper" && e.paths.root == "":
		return "", fmt.Errorf("%w: ZooKeeper: name %q: /zookeeper is ZooKeeper's own", engine.ErrInvalid, name)
	}
	return canonical, nil
}

// badElement says which rule of ZooKeeper's, or of ours, an element breaks.
func badElement(element string) string {
	switch {
	case element == "":
		return "an element of a path is not empty (no // and no / at its end)"
	case element == "." || element == "..":
		return "no element of a path is . or .."
	case !utf8.ValidString(element):
		return "it is not UTF-8"
	}
	for _, r := range element {
		if !pathRune(r) {
			return fmt.Sprintf("ZooKeeper takes no %U in a path", r)
		}
	}
	if _, ok := parseNode(element); ok {
		return "an element that looks like a claim's node"
	}
	return ""
}

// pathRune is ZooKeeper's rule (PathUtils.validatePath), which is about UTF-16: what
// takes two units there, such as emoji, is refused.
func pathRune(r rune) bool {
	switch {
	case r <= 0x1f, r >= 0x7f && r <= 0x9f, r >= 0xd800 && r <= 0xf8ff, r >= 0xfff0:
		return false
	}
	return true
}

// A map's key is the name of a child, with %XX for the bytes of what cannot be in
// one.

// escapeKey is the child's name.
func escapeKey(key string) string {
	var b strings.Builder
	for i, r := range key {
		if pathRune(r) && r != '/' && r != '%' {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(key[i : i+utf8.RuneLen(r)]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	name := b.String()
	_, claim := parseNode(name)
	if claim || strings.HasPrefix(name, ".") {
		name = fmt.Sprintf("%%%02X", name[0]) + name[1:] // both begin with an ASCII character
	}
	return name
}

// unescapeKey is the key of a child; false: no key of ours has that child.
func unescapeKey(child string) (string, bool) {
	key := child
	if strings.Contains(child, "%") {
		var b strings.Builder
		for i := 0; i < len(child); i++ {
			var c byte
			if child[i] != '%' {
				b.WriteByte(child[i])
			} else if n, _ := fmt.Sscanf(child[i:min(i+3, len(child))], "%%%02X", &c); n == 1 {
				b.WriteByte(c)
				i += 2
			}
		}
		key = b.String()
	}
	return key, utf8.ValidString(key) && escapeKey(key) == child
}
