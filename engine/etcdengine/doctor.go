package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// Examine reaches the cluster, examines it and leaves it, also where Open would have
// refused it.
func (driver) Examine(ctx context.Context, t engine.Target) ([]engine.Finding, error) {
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
	findings, err := e.Examine(ctx)
	return findings, errors.Join(err, e.Close())
}

// Examine looks at the cluster as [engine.Doctor] says: a few requests to each member,
// and one lease, which is gone when it returns.
func (e *Engine) Examine(ctx context.Context) ([]engine.Finding, error) {
	d := &examination{e: e}
	reached := d.members(ctx)
	if reached == 0 {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(e.client.Endpoints(), ","), d.unreached)
	}
	d.quorum(ctx)
	d.alarms(ctx)
	d.leases(ctx)
	d.history(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(d.findings, func(a, b engine.Finding) int { return int(b.Level) - int(a.Level) })
	return d.findings, nil
}

// examination is one.
type examination struct {
	e         *Engine
	findings  []engine.Finding
	unreached error
}

func (d *examination) add(level engine.Level, what, why, fix string) {
	d.findings = append(d.findings, engine.Finding{Level: level, What: what, Why: why, Fix: fix})
}

// notSeen is a finding about what could not be looked at.
func (d *examination) notSeen(what string, err error) {
	d.add(engine.LevelNote, fmt.Sprintf("%s could not be looked at: %v", what, err), "", "")
}

// members asks each endpoint of the URL for its own state.
func (d *examination) members(ctx context.Context) (reached int) {
	var versions []string
	for _, endpoint := range d.e.client.Endpoints() {
		is, err := d.status(ctx, endpoint)
		if err != nil {
			d.unreached = err
			d.add(engine.LevelWarning, fmt.Sprintf("member %s does not answer: %v", endpoint, err),
				"Requests to it wait for their time-out, and one member fewer may fail.", "Start it, or take it out of the URL.")
			continue
		}
		reached++
		versions = append(versions, is.Version)
		d.version(endpoint, is.Version)
		d.size(endpoint, is)
		if is.Leader == 0 {
			d.add(engine.LevelDanger, fmt.Sprintf("member %s has no leader", endpoint), "Nothing can be locked through it.",
				"Look at its connections to the other members.")
		}
		for _, text := range is.Errors {
			d.add(engine.LevelWarning, fmt.Sprintf("member %s reports: %s", endpoint, text), "", "")
		}
	}
	if slices.Sort(versions); len(versions) > 1 && versions[0] != versions[len(versions)-1] {
		d.add(engine.LevelNote, fmt.Sprintf("the members are of versions %s to %s", versions[0], versions[len(versions)-1]),
			"The cluster works as the oldest does.", "Finish the upgrade.")
	}
	return reached
}

func (d *examination) status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	ctx, done := d.e.request(ctx)
	defer done()
	is, err := d.e.client.Status(ctx, endpoint)
	return is, d.e.explain(ctx, err)
}

func (d *examination) version(endpoint, version string) {
	major, minor, patch := parseVersion(version)
	what := fmt.Sprintf("member %s is etcd %s", endpoint, version)
	switch {
	case major < 3 || major == 3 && minor < 4:
		d.add(engine.LevelDanger, what, "This engine needs 3.4.", "Upgrade it.")
	case major == 3 && minor < 5 || major == 3 && minor == 5 && patch < 18:
		d.add(engine.LevelNote, what, "It is supported. Lockstep works around what was mended since: keep-alives of a deposed leader (3.5.3), "+
			"progress told too early (3.5.8), deletions lost at a compaction (3.5.18).", "Upgrade it when you can.")
	default:
		d.add(engine.LevelOK, what, "", "")
	}
}

func parseVersion(text string) (major, minor, patch int) {
	parts := strings.SplitN(text, ".", 3)
	for i, to := range []*int{&major, &minor, &patch} {
		if i < len(parts) {
			digits, _, _ := strings.Cut(parts[i], "-")
			*to, _ = strconv.Atoi(digits)
		}
	}
	return major, minor, patch
}

// defaultQuota is what a member takes where nothing is said. Since 3.6 it tells its own.
const defaultQuota = 2 << 30

func (d *examination) size(endpoint string, is *clientv3.StatusResponse) {
	quota := (*pb.StatusResponse)(is).GetDbSizeQuota()
	assumed := ""
	if quota == 0 {
		quota, assumed = defaultQuota, " (the default; this version does not tell its own)"
	}
	what := fmt.Sprintf("member %s keeps %d MiB, %d MiB of them in use, of %d MiB%s",
		endpoint, is.DbSize>>20, is.DbSizeInUse>>20, quota>>20, assumed)
	if is.DbSize*10 > quota*8 {
		d.add(engine.LevelWarning, what, "When it is full nothing can be locked or put; what is held is renewed and released.",
			"Compact the history and defragment the members.")
		return
	}
	d.add(engine.LevelOK, what, "", "")
}

// quorum makes one linearizable read, and counts the members.
func (d *examination) quorum(ctx context.Context) {
	asked := time.Now()
	if _, err := d.e.get(ctx, d.e.own("layout")); err != nil {
		level := engine.LevelDanger
		if errors.Is(err, rpctypes.ErrPermissionDenied) {
			level = engine.LevelWarning
		}
		d.add(level, fmt.Sprintf("a read that needs a quorum fails: %v", err), "Nothing can be locked.",
			"Start enough members, and see that this user may read and write the keys.")
		return
	}
	took := time.Since(asked)
	d.add(engine.LevelOK, fmt.Sprintf("a quorum answers (in %v)", took.Round(100*time.Microsecond)), "", "")
	d.count(ctx)
}

func (d *examination) count(ctx context.Context) {
	ctx, done := d.e.request(ctx)
	defer done()
	list, err := d.e.client.MemberList(ctx)
	if err != nil {
		d.notSeen("the list of members", d.e.explain(ctx, err))
		return
	}
	voters := 0
	for _, m := range list.Members {
		if !m.GetIsLearner() {
			voters++
		}
	}
	switch {
	case voters == 1:
		d.add(engine.LevelWarning, "the cluster has one member", "When it stops, nothing can be locked; when its disk is lost, all is.",
			"Add two members.")
	case voters%2 == 0:
		d.add(engine.LevelNote, fmt.Sprintf("the cluster has %d members", voters),
			"An even number bears no more failures than one fewer.", "Add one.")
	default:
		d.add(engine.LevelOK, fmt.Sprintf("the cluster has %d members", voters), "", "")
	}
}

func (d *examination) alarms(ctx context.Context) {
	ctx, done := d.e.request(ctx)
	defer done()
	list, err := d.e.client.AlarmList(ctx)
	if err != nil {
		d.notSeen("alarms", d.e.explain(ctx, err))
		return
	}
	if len(list.Alarms) == 0 {
		d.add(engine.LevelOK, "no alarm is raised", "", "")
	}
	for _, a := range list.Alarms {
		what := fmt.Sprintf("member %x has raised the alarm %v", a.GetMemberID(), a.GetAlarm())
		switch a.GetAlarm() {
		case pb.AlarmType_NOSPACE:
			d.add(engine.LevelDanger, what, "Nothing can be locked or put until it is disarmed.",
				"Compact, `etcdctl defrag`, then `etcdctl alarm disarm`.")
		default:
			d.add(engine.LevelDanger, what, "Members may tell different things.", "Replace the member whose data differ.")
		}
	}
}

// leases grants the shortest lease, reads how much is left of it, and revokes it: what
// a session's life is counted by.
func (d *examination) leases(ctx context.Context) {
	asked := time.Now()
	lease, err := d.e.grant(ctx, time.Second)
	if err != nil {
		d.add(engine.LevelDanger, fmt.Sprintf("no lease is granted: %v", err), "Nothing can be locked.", "")
		return
	}
	rctx, done := d.e.request(ctx)
	left, err := d.e.client.TimeToLive(rctx, lease.ID)
	done()
	took := time.Since(asked)
	if revoked := d.e.revoke(ctx, lease.ID); revoked != nil {
		d.notSeen("the end of a lease", revoked)
	}
	switch {
	case err != nil:
		d.notSeen("the clock of leases", explain(err))
	case seconds(left.TTL+1)+took < seconds(lease.TTL):
		d.add(engine.LevelWarning, fmt.Sprintf("a lease of %d s had %d s left after %v", lease.TTL, left.TTL, took),
			"The leader's clock runs ahead of this one: sessions end early.", "Look at the leader's clock source.")
	default:
		d.add(engine.LevelOK, fmt.Sprintf("leases are granted and count by this machine's clock; the shortest is %d s", lease.TTL), "", "")
	}
}

// history finds out whether anything was ever compacted: how it is set to be, a server
// does not tell.
func (d *examination) history(ctx context.Context) {
	const many = 1_000_000
	r, err := d.e.get(ctx, d.e.own("layout"))
	if err != nil {
		return // quorum said so
	}
	_, err = d.e.get(ctx, d.e.own("layout"), clientv3.WithRev(1))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		d.add(engine.LevelOK, "the history is compacted", "", "")
	case err != nil:
		d.notSeen("the history", err)
	case r.Header.GetRevision() > many:
		d.add(engine.LevelWarning, fmt.Sprintf("none of %d revisions was ever compacted", r.Header.GetRevision()),
			"Each lock and each put adds to the history until the database is full.",
			"Run the members with --auto-compaction-mode=periodic --auto-compaction-retention=1h.")
	default:
		d.add(engine.LevelNote, fmt.Sprintf("none of %d revisions was compacted so far", r.Header.GetRevision()),
			"Each lock and each put adds to the history; without compaction the database fills up.",
			"See that the members run with --auto-compaction-retention, or something compacts.")
	}
}
