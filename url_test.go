package lockstep_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]engine.Target{
		"mem:":                  {Scheme: "mem"},
		"file:///var/lib/locks": {Scheme: "file", Path: "/var/lib/locks"},
		"file:///a%20b?x=1%262": {Scheme: "file", Path: "/a b", Params: map[string]string{"x": "1&2"}},
		"file:relative/dir":     {Scheme: "file", Path: "relative/dir"},
		"REDIS://h":             {Scheme: "redis", Hosts: []string{"h"}},
		"redis://u:p%40@h:1/2?a": {
			Scheme: "redis", User: "u", Password: "p@", Hosts: []string{"h:1"}, Path: "/2", Params: map[string]string{"a": ""},
		},
		"redis://u:p@w@h":        {Scheme: "redis", User: "u", Password: "p@w", Hosts: []string{"h"}},
		"redis+unix:///run/sock": {Scheme: "redis+unix", Path: "/run/sock"},
		"etcd://[::1]:1,[::2]:2": {Scheme: "etcd", Hosts: []string{"[::1]:1", "[::2]:2"}},
		"zk://a,b:2,c/chroot/x":  {Scheme: "zk", Hosts: []string{"a", "b:2", "c"}, Path: "/chroot/x"},
	} {
		got, err := lockstep.ParseURL(in)
		if want.Params == nil {
			want.Params = map[string]string{}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", in, got, err, want)
		}
	}
}

func TestBadURLIsRefusedWithAReasonAndWithoutItsPassword(t *testing.T) {
	for in, says := range map[string]string{
		"":                           "without a scheme",
		"/var/lib/locks":             "without a scheme",
		"1x://h":                     "without a scheme",
		"redis://u:secret@h:0":       "port is 1 to 65535",
		"redis://u:secret@h:99999":   "port is 1 to 65535",
		"redis://u:secret@h:":        "port is 1 to 65535",
		"redis://u:secret@a,,b":      "empty host",
		"redis://u:secret@::1":       "needs '[' and ']'",
		"redis://u:secret@[::1":      "'[' without ']'",
		"redis://u:secret@[x]":       "no IPv6 address",
		"redis://u:secret@[::1]x":    "nothing or :port",
		"redis://u:secret@h h":       "a host is letters",
		"redis://u:secret%zz@h":      "bad %-escape",
		"redis://u:secret#@h":        "%23",
		"redis://u:secret@h?a=1&a=2": "twice",
		"redis://u:secret@h?=1":      "not name=value",
		"redis://u:secret@h?%zz=1":   "not name=value",
		"redis://u:secret@h/%zz":     "bad %-escape",
		"redis://secret h:1":         "a host is letters",
		"file:///a\x00b":             "control character",
	} {
		_, err := lockstep.ParseURL(in)
		if !errors.Is(err, lockstep.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error is %v; want ErrInvalid that says %q", in, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %q shows what may be a password", in, err)
		}
	}
}

func TestTargetIsShownWithoutItsPassword(t *testing.T) {
	for in, want := range map[string]string{
		"redis://u:secret@h:1,[::1]:2/2?a=secret": "redis://u@h:1,[::1]:2/2",
		"file:///var/lib/my%20locks?x=secret":     "file:///var/lib/my%20locks",
		"mem:":                                    "mem:",
	} {
		target, err := lockstep.ParseURL(in)
		wantNo(t, err)
		if got := target.String(); got != want {
			t.Errorf("%s is shown as %s; want %s", in, got, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"mem:", "file:///d?x=1", "redis://u:p@[::1]:1,h/2?a=b", "a:b@c", "etcd://%41@x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		target, err := lockstep.ParseURL(in)
		if err != nil {
			if !errors.Is(err, lockstep.ErrInvalid) {
				t.Errorf("error %v is not ErrInvalid", err)
			}
			return
		}
		if target.Scheme == "" || strings.ToLower(target.Scheme) != target.Scheme || target.Params == nil {
			t.Errorf("%q: %+v", in, target)
		}
		for _, h := range target.Hosts {
			if h == "" || strings.ContainsAny(h, "/@?#, ") {
				t.Errorf("%q: host %q", in, h)
			}
		}
	})
}
