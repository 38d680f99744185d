package lockstep

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lockstep-go/lockstep/engine"
)

// The limits that every engine keeps; an engine may add its own.
const (
	MaxName  = 512     // bytes of a lock's or map's name, the client's prefix included
	MaxKey   = 512     // bytes of a key in a map
	MaxNote  = 4 << 10 // bytes of a note
	MaxValue = 1 << 20 // bytes of a value; Client.Info().MaxValue if less
)

// canonical checks a name and gives it as the engine knows it.
func (c *Client) canonical(name string) (string, error) {
	if name == "" {
		return "", invalidf("an empty name; a name has 1 to %d bytes", MaxName)
	}
	if strings.HasPrefix(name, ".") {
		return "", invalidf("name %.40q begins with a dot; such names are Lockstep's own", name)
	}
	full := c.opts.prefix + name
	if len(full) > MaxName {
		return "", invalidf("name %.40q… has %d bytes; it may have %d, the client's prefix included", name, len(full), MaxName)
	}
	if err := checkText("name", full); err != nil {
		return "", err
	}
	return c.eng.CheckName(full)
}

func checkKey(key string) error {
	if len(key) > MaxKey {
		return invalidf("key %.40q… has %d bytes; it may have %d", key, len(key), MaxKey)
	}
	return checkText("key", key)
}

func checkValue(value []byte, info engine.Info) error {
	limit := MaxValue
	if info.MaxValue > 0 {
		limit = min(limit, info.MaxValue)
	}
	if len(value) > limit {
		return invalidf("value of %d bytes; it may have %d here", len(value), limit)
	}
	return nil
}

func checkNote(note []byte) error {
	if len(note) > MaxNote {
		return invalidf("note of %d bytes; it may have %d", len(note), MaxNote)
	}
	return nil
}

func checkText(what, s string) error {
	if !utf8.ValidString(s) {
		return invalidf("%s %.40q is not UTF-8", what, s)
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return invalidf("%s %.40q has a control character at byte %d", what, s, i)
	}
	return nil
}
