package redisengine

import (
	"net/netip"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// reach looks at who can connect. The server tells by which of its addresses it
// was reached: that is so through a client of the caller's as well, whose
// settings cannot be seen.
func (x *examination) reach() {
	at, ok := x.client["laddr"]
	if !ok {
		return
	}
	local := isLocal(at)
	switch {
	case !x.openSeen && x.user == "default":
		x.say(engine.LevelNote, "whether the default user has a password could not be learned", "", "")
	case x.openSeen && !x.open:
		x.ok("its default user needs a password, or is off")
	case x.openSeen && !local:
		x.say(engine.LevelDanger, "anybody who reaches "+at+" may do anything: the default user has no password",
			"Whoever can connect can remove a lock, or all of them.",
			"ACL SETUSER default off, and a user for locks as in the engine's page; or requirepass.")
	case x.openSeen && x.exposed():
		x.say(engine.LevelDanger, "it listens beyond this host (bind "+x.config["bind"]+"), without a password and with protected-mode no",
			"Whoever can connect can remove a lock, or all of them.", "Set a password, or protected-mode yes, or bind 127.0.0.1.")
	case x.openSeen:
		x.ok("without a password, it is reached from this host only")
	}
	if !local {
		x.encryption(at)
	}
}

// exposed says whether others than this host are let in without a password.
func (x *examination) exposed() bool {
	if x.config["protected-mode"] != "no" {
		return false
	}
	for addr := range strings.FieldsSeq(x.config["bind"]) {
		addr = strings.TrimPrefix(addr, "-")
		if a, err := netip.ParseAddr(addr); err != nil || !a.IsLoopback() {
			return true
		}
	}
	return false
}

func (x *examination) encryption(at string) {
	port := at[strings.LastIndexByte(at, ':')+1:]
	tls, known := x.config["tls-port"]
	switch {
	case known && tls == port:
		x.ok("the connection is encrypted")
	case known:
		x.say(engine.LevelWarning, "the connection to "+at+" is not encrypted",
			"Whoever is between can read passwords, tokens and notes, and answer in the server's place.", "Use TLS, or a network of its own.")
	default:
		x.say(engine.LevelNote, "whether the connection to "+at+" is encrypted could not be learned", "", "")
	}
}

// isLocal says whether an address of CLIENT INFO can be reached from its own host
// alone: 127.0.0.1:6379, [::1]:6379, or a unix socket's path with ":0".
func isLocal(at string) bool {
	if strings.HasPrefix(at, "/") {
		return true
	}
	a, err := netip.ParseAddrPort(at)
	if err != nil { // before 7.0 an IPv6 address has no brackets
		host := at[:max(strings.LastIndexByte(at, ':'), 0)]
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Unmap().IsLoopback()
	}
	return a.Addr().Unmap().IsLoopback()
}

// withoutPassword reads ACL GETUSER: whether the user is on and needs none. Of its
// answer, which holds hashes of passwords, nothing else is looked at.
func withoutPassword(v any) (open, known bool) {
	flags, ok := fieldOf(v, "flags").([]any)
	if !ok {
		return false, false
	}
	on, nopass := false, false
	for _, f := range flags {
		switch f {
		case "on":
			on = true
		case "nopass":
			nopass = true
		}
	}
	return on && nopass, true
}

// fieldOf is one value of a reply of names and values.
func fieldOf(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[name]
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			if v[i] == name {
				return v[i+1]
			}
		}
	}
	return nil
}
