package faultnet

import (
	"bytes"
	"strconv"
	"strings"
)

// Protocol says where requests and replies begin and end.
type Protocol struct {
	request func(data []byte) int // how long the first is; 0: it is not all there yet
	reply   func(data []byte) int

	// setup knows the requests that belong to a connection: one that carries a
	// straggler repeats them first.
	setup func(request []byte) bool
	// silent knows the requests that get no reply, but only messages.
	silent func(request []byte) bool
	// message knows what comes without a request. Only where one was silent can
	// a message of RESP 2 be told from a reply.
	message func(data []byte, afterSilent bool) bool
}

// Raw is for any protocol: what arrives is passed as it came. Rules see pieces
// of the stream, and none that is about replies can be set.
var Raw = Protocol{
	request: func(data []byte) int { return len(data) },
	reply:   func(data []byte) int { return len(data) },
	setup:   func([]byte) bool { return false },
	silent:  func([]byte) bool { return true },
	message: func([]byte, bool) bool { return true },
}

// RESP is what Redis speaks, version 2 and 3.
var RESP = Protocol{
	request: respSize,
	reply:   respSize,
	setup: func(request []byte) bool {
		switch command(request) {
		case "HELLO", "AUTH", "SELECT":
			return true
		}
		return false
	},
	silent: func(request []byte) bool { return strings.HasSuffix(command(request), "SUBSCRIBE") },
	message: func(data []byte, afterSilent bool) bool {
		if data[0] == '>' {
			return true
		}
		name := command(data)
		return afterSilent && (strings.HasSuffix(name, "MESSAGE") || strings.HasSuffix(name, "SUBSCRIBE"))
	},
}

func (p Protocol) knowsReplies() bool { return !p.silent(nil) }

// respSize is the length of the first value in data; 0 if it is not complete. What is no
// RESP is passed on as it is.
func respSize(data []byte) int {
	line := bytes.Index(data, []byte("\r\n"))
	if line < 1 {
		return 0
	}
	size := line + 2
	n, err := strconv.Atoi(string(data[1:line]))
	switch data[0] {
	case '$', '!', '=':
		if err != nil {
			return len(data)
		}
		if n >= 0 {
			size += n + 2
		}
		if size > len(data) {
			return 0
		}
		return size
	case '*', '~', '>':
	case '%':
		n *= 2
	case '|':
		n = 2*n + 1 // what has these attributes follows
	default:
		return size
	}
	if err != nil {
		return len(data)
	}
	for range max(n, 0) {
		element := respSize(data[size:])
		if element == 0 {
			return 0
		}
		size += element
	}
	return size
}

// command is the first string of an array, in capitals.
func command(data []byte) string {
	if len(data) == 0 || data[0] != '*' && data[0] != '>' {
		return ""
	}
	parts := bytes.SplitN(data, []byte("\r\n"), 4)
	if len(parts) < 4 {
		return ""
	}
	return strings.ToUpper(string(parts[2]))
}
