package etcdengine

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

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/lockstep-go/lockstep/engine"
)

// Driver opens etcd://user:password@host:port,host:port/prefix, with the parameters
//
//	timeout       how long one request may take: 4s. A member that does not answer is
//	              given up for that request, so it should be below 0.4 of the TTL
//	dial-timeout  the same for what Open needs: 4s
//	tls           on: TLS with the system's authorities. The next four imply it
//	ca            a file with the authorities that sign the servers' certificates
//	cert, key     files with the client's certificate and its key
//	server-name   the name that the servers' certificates must have
//
// The path, where there is one, is the prefix of every key, with a slash behind it:
// under etcd://host/teams/one the lock n is at /teams/one/n.
var Driver engine.Driver = driver{}

type driver struct{}

func (driver) Schemes() []string { return []string{scheme} }

const scheme = "etcd"

// Parameters of the URL.
const (
	paramTimeout     = "timeout"
	paramDialTimeout = "dial-timeout"
	paramTLS         = "tls"
	paramCA          = "ca"
	paramCert        = "cert"
	paramKey         = "key"
	paramServerName  = "server-name"
)

// Open connects, and makes one round trip that needs a quorum.
func (driver) Open(ctx context.Context, t engine.Target) (engine.Engine, error) {
	e, err := open(ctx, t)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func open(ctx context.Context, t engine.Target) (*Engine, error) {
	o, err := options(t)
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, o.config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(o.config.Endpoints, ","), err)
	}
	e := newEngine(c, []Option{WithKeyPrefix(o.prefix), WithTimeout(o.timeout)})
	e.owned = true
	ctx, cancel := context.WithTimeoutCause(ctx, o.config.DialTimeout, errTimeout(o.config.DialTimeout))
	defer cancel()
	if err := e.probe(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", strings.Join(o.config.Endpoints, ","), err), e.Close())
	}
	return e, nil
}

// connect makes a client, which asks for a token where there is a user. ctx bounds
// that, and is not the client's.
func connect(ctx context.Context, config clientv3.Config) (*clientv3.Client, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	config.Context = life
	c, err := clientv3.New(config)
	if !stop() || err != nil {
		cancel()
		if c != nil {
			err = errors.Join(err, c.Close())
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, explain(err)
	}
	return c, nil
}

// opened is what a target says, checked.
type opened struct {
	config  clientv3.Config
	prefix  string
	timeout time.Duration
}

func options(t engine.Target) (opened, error) {
	var o opened
	err := t.CheckParams(paramTimeout, paramDialTimeout, paramTLS, paramCA, paramCert, paramKey, paramServerName)
	if err != nil {
		return o, err
	}
	o.config = clientv3.Config{
		Username: t.User, Password: t.Password, Logger: zap.NewNop(),
		DialKeepAliveTime: keepAliveTime,
	}
	if prefix := strings.TrimRight(t.Path, "/"); prefix != "" {
		o.prefix = prefix + "/"
	}
	err = errors.Join(
		endpoints(&o.config, t),
		user(t),
		duration(&o.timeout, t, paramTimeout),
		duration(&o.config.DialTimeout, t, paramDialTimeout),
		secure(&o.config, t),
	)
	o.config.DialKeepAliveTimeout = o.timeout
	o.config.DialOptions = append(windows(), grpc.WithConnectParams(reconnect(o.config.DialTimeout)))
	return o, err
}

// windows are how much may be on its way to this process. By itself grpc works that out,
// by a ping for each reply: a third more messages for requests that fit any window.
func windows() []grpc.DialOption {
	const stream, connection = 1 << 20, 4 << 20
	return []grpc.DialOption{grpc.WithStaticStreamWindowSize(stream), grpc.WithStaticConnWindowSize(connection)}
}

// reconnect is how often a member that is away is dialled: soon, since it may have been
// cut off for a moment only, and twice a second in the end. By itself grpc pauses for 1 s
// first and for up to 2 minutes, which is more than sessions live.
func reconnect(timeout time.Duration) grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
		MinConnectTimeout: timeout,
	}
}

// keepAliveTime is how often a silent connection is asked whether it lives: servers
// refuse clients that ask more often than every 5 s, grpc asks not more than every 10.
const keepAliveTime = 10 * time.Second

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", engine.ErrInvalid, scheme, fmt.Sprintf(format, args...))
}

func endpoints(c *clientv3.Config, t engine.Target) error {
	if len(t.Hosts) == 0 {
		return invalid("wants a host, as in etcd://127.0.0.1:2379")
	}
	for _, h := range t.Hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil { // it has no port: hosts were checked before
			host, port = strings.Trim(h, "[]"), "2379"
		}
		c.Endpoints = append(c.Endpoints, net.JoinHostPort(host, port))
	}
	return nil
}

func user(t engine.Target) error {
	if t.User == "" && t.Password != "" {
		return invalid("a password without a user, who stands in front of the host: etcd://user@host")
	}
	if t.User != "" && t.Password == "" {
		return invalid("the user %.40q without a password", t.User)
	}
	return nil
}

func duration(to *time.Duration, t engine.Target, param string) error {
	text, given := t.Params[param]
	if *to = defaultTimeout; !given {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 100*time.Millisecond || d > time.Hour {
		return invalid("%s=%.40s: wants a duration between 100ms and 1h, such as 5s", param, text)
	}
	*to = d
	return nil
}

// secure sets TLS where a parameter asks for it.
func secure(c *clientv3.Config, t engine.Target) error {
	if on := t.Params[paramTLS]; on != "" && on != "on" {
		return invalid("tls=%.40s: wants on", on)
	}
	given := false
	for _, p := range []string{paramTLS, paramCA, paramCert, paramKey, paramServerName} {
		given = given || t.Params[p] != ""
	}
	if !given {
		return nil
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.Params[paramServerName]}
	return errors.Join(authorities(c.TLS, t.Params[paramCA]), certificate(c.TLS, t.Params[paramCert], t.Params[paramKey]))
}

func authorities(c *tls.Config, file string) error {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return invalid("ca: %v", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return invalid("ca: %.200s has no certificate in PEM form", file)
	}
	return nil
}

func certificate(c *tls.Config, cert, key string) error {
	switch {
	case cert == "" && key == "":
		return nil
	case cert == "" || key == "":
		return invalid("cert and key go together")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return invalid("cert, key: %v", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
}
