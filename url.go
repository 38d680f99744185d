package lockstep

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// ParseURL reads an engine's URL:
//
//	scheme://[user[:password]@]host[:port][,host[:port]…][/path][?param=value[&…]]
//
// net/url cannot do it: it refuses a list of IPv6 hosts and prints passwords
// in its errors. No error of ParseURL shows any part that may hold a password.
// User, password and parameters may be percent-encoded; a path may as well.
func ParseURL(s string) (engine.Target, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !validScheme(scheme) {
		return engine.Target{}, invalidf("engine URL without a scheme; for example file:///var/lib/locks or redis://127.0.0.1:6379")
	}
	t := engine.Target{Scheme: strings.ToLower(scheme), Params: map[string]string{}}
	if strings.Contains(rest, "#") {
		return engine.Target{}, invalidf("%s: URL with a '#'; write it as %%23", t.Scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	if err := parseParams(&t, query); err != nil {
		return engine.Target{}, err
	}
	path, hasHost := strings.CutPrefix(rest, "//")
	if hasHost {
		authority := path
		if i := strings.IndexByte(path, '/'); i >= 0 {
			authority, path = path[:i], path[i:]
		} else {
			path = ""
		}
		if err := parseAuthority(&t, authority); err != nil {
			return engine.Target{}, err
		}
	}
	var err error
	if t.Path, err = url.PathUnescape(path); err != nil {
		return engine.Target{}, invalidf("%s: URL whose path has a bad %%-escape", t.Scheme)
	}
	return t, checkText("path", t.Path)
}

func validScheme(s string) bool {
	for i, r := range s {
		if !isLetter(r) && (i == 0 || !isDigit(r) && !strings.ContainsRune("+-.", r)) {
			return false
		}
	}
	return s != ""
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func isDigit(r rune) bool  { return r >= '0' && r <= '9' }

func parseParams(t *engine.Target, query string) error {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		k, err1 := url.QueryUnescape(key)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || k == "" {
			return invalidf("%s: URL with a parameter that is not name=value", t.Scheme)
		}
		if _, twice := t.Params[k]; twice {
			return invalidf("%s: URL gives parameter %.40q twice", t.Scheme, k)
		}
		t.Params[k] = v
	}
	return nil
}

func parseAuthority(t *engine.Target, authority string) error {
	// The last @: a password may have one that its owner did not escape.
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		var err1, err2 error
		t.User, err1 = url.PathUnescape(user)
		t.Password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return invalidf("%s: URL whose user or password has a bad %%-escape", t.Scheme)
		}
		authority = authority[i+1:]
	}
	if authority == "" {
		return nil
	}
	for host := range strings.SplitSeq(authority, ",") {
		if err := checkHost(host); err != nil {
			return invalidf("%s: URL with a bad host: %v", t.Scheme, err)
		}
		t.Hosts = append(t.Hosts, host)
	}
	return nil
}

// checkHost takes host, host:port, [v6] and [v6]:port. Its errors never show
// the host: a mistyped password may have ended up in it.
func checkHost(host string) error {
	if v6, isV6 := strings.CutPrefix(host, "["); isV6 {
		return checkV6(v6)
	}
	name, port, hasPort := strings.Cut(host, ":")
	if strings.Contains(port, ":") {
		return invalidf("an IPv6 address needs '[' and ']'")
	}
	if name == "" {
		return invalidf("an empty host")
	}
	for _, r := range name {
		if !isLetter(r) && !isDigit(r) && !strings.ContainsRune("-._", r) {
			return invalidf("a host is letters, digits, '-', '.' and '_'")
		}
	}
	if hasPort {
		return checkPort(port)
	}
	return nil
}

// checkV6 takes what comes after the '['.
func checkV6(s string) error {
	addr, after, closed := strings.Cut(s, "]")
	if !closed {
		return invalidf("'[' without ']'")
	}
	if _, err := netip.ParseAddr(addr); err != nil {
		return invalidf("no IPv6 address between '[' and ']'")
	}
	port, hasPort := strings.CutPrefix(after, ":")
	switch {
	case after == "":
		return nil
	case !hasPort:
		return invalidf("after ']' comes nothing or :port")
	}
	return checkPort(port)
}

func checkPort(port string) error {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return invalidf("a port is 1 to 65535")
	}
	return nil
}
