package zkengine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Driver opens zk://user:password@host1,host2,host3/path, with the parameters
//
//	acl       who may use the nodes that are made: open (everybody), creator (who
//	          knows user and password) or read (the others may look on). Default:
//	          creator where the URL has a user, otherwise open.
//	parents   container (removed by ZooKeeper when they are no longer used) or
//	          persistent
//	timeout   the session timeout of the connection that maps and lines are read
//	          over: 10s. Claims have sessions of their own, of the client's TTL.
//	tls       on: speak TLS, and check the server by the system's authorities
//	ca        a PEM file of authorities to check it by instead
//	cert,key  PEM files that this client shows
var Driver engine.Driver = driver{}

type driver struct{}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func (driver) Schemes() []string { return []string{"zk"} }

// Open connects, and makes one round trip.
func (driver) Open(ctx context.Context, t engine.Target) (engine.Engine, error) {
	d, timeout, opts, err := dialing(t)
	if err != nil {
		return nil, err
	}
	e, err := open(ctx, d, timeout, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(d.hosts, ","), err)
	}
	return e, nil
}

func open(ctx context.Context, d dialed, timeout time.Duration, opts []Option) (*Engine, error) {
	o := defaults(opts)
	d.log, d.acl = o.log, o.acl
	begin := func(ctx context.Context, ttl time.Duration) (*conn, error) {
		d := d
		d.timeout = ttl
		return connect(ctx, d, true)
	}
	d.timeout = timeout
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	c, err := connect(ctx, d, false)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(c, o)
	if err == nil {
		e.begin, e.hosts, e.dial = begin, d.hosts, d.dial
		err = e.probe(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return e, nil
}

// Parameters of the URL.
const (
	paramACL     = "acl"
	paramParents = "parents"
	paramTimeout = "timeout"
	paramTLS     = "tls"
	paramCA      = "ca"
	paramCert    = "cert"
	paramKey     = "key"
)

// dialing is what the target says, checked.
func dialing(t engine.Target) (d dialed, timeout time.Duration, opts []Option, err error) {
	if err := t.CheckParams(paramACL, paramParents, paramTimeout, paramTLS, paramCA, paramCert, paramKey); err != nil {
		return d, 0, nil, err
	}
	if len(t.Hosts) == 0 {
		return d, 0, nil, invalid("wants servers, as in zk://10.0.0.1,10.0.0.2,10.0.0.3/path")
	}
	d.hosts = withPorts(t.Hosts)
	root := strings.TrimSuffix(t.Path, "/")
	acl, errACL := aclOf(t)
	parents, errParents := parentsOf(t)
	timeout, errTimeout := timeoutOf(t)
	d.dial, err = dialerOf(t)
	err = errors.Join(errACL, errParents, errTimeout, err)
	if t.User != "" {
		d.auth = []auth{{"digest", []byte(t.User + ":" + t.Password)}}
	}
	return d, timeout, append(parents, WithRoot(root), WithACL(acl)), err
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: zk: %s", engine.ErrInvalid, fmt.Sprintf(format, args...))
}

func withPorts(hosts []string) []string {
	all := make([]string, len(hosts))
	for i, h := range hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil { // it has no port: hosts were checked before
			host, port = strings.Trim(h, "[]"), "2181"
		}
		all[i] = net.JoinHostPort(host, port)
	}
	return all
}

func aclOf(t engine.Target) ([]zk.ACL, error) {
	mine := zk.AuthACL(zk.PermAll)
	which, given := t.Params[paramACL]
	if !given {
		which = "open"
		if t.User != "" {
			which = "creator"
		}
	}
	switch {
	case which == "open":
		return zk.WorldACL(zk.PermAll), nil
	case which != "creator" && which != "read":
		return nil, invalid("%s=%.40s: wants open, creator or read", paramACL, which)
	case t.User == "":
		return nil, invalid("%s=%s: wants a user in the URL", paramACL, which)
	case which == "read":
		return append(mine, zk.WorldACL(zk.PermRead)...), nil
	}
	return mine, nil
}

func parentsOf(t engine.Target) ([]Option, error) {
	switch which := t.Params[paramParents]; which {
	case "", "container":
		return nil, nil
	case "persistent":
		return []Option{WithPersistentParents()}, nil
	default:
		return nil, invalid("%s=%.40s: wants container or persistent", paramParents, which)
	}
}

func timeoutOf(t engine.Target) (time.Duration, error) {
	text, given := t.Params[paramTimeout]
	if !given {
		return 10 * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > time.Hour {
		return 0, invalid("%s=%.40s: wants a duration between 1s and 1h, such as 10s", paramTimeout, text)
	}
	return d, nil
}

// dialerOf is nil for plain TCP.
func dialerOf(t engine.Target) (dialFunc, error) {
	var plain dialFunc
	on := t.Params[paramTLS]
	if on != "" && on != "on" {
		return plain, invalid("%s=%.40s: wants on", paramTLS, on)
	}
	if on == "" {
		for _, p := range []string{paramCA, paramCert, paramKey} {
			if t.Params[p] != "" {
				return plain, invalid("%s wants tls=on", p)
			}
		}
		return plain, nil
	}
	config, err := tlsConfig(t)
	if err != nil {
		return plain, err
	}
	return (&tls.Dialer{Config: config}).DialContext, nil
}

func tlsConfig(t engine.Target) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := t.Params[paramCA]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, invalid("%s: %v", paramCA, err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("%s: %s holds no certificate in PEM", paramCA, file)
		}
	}
	if cert, key := t.Params[paramCert], t.Params[paramKey]; cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, invalid("%s and %s: %v", paramCert, paramKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
