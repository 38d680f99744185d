package torture

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// adderEnv makes this program one that only adds: its value is the address of the
// server and how often to add.
const adderEnv = "LOCKSTEP_TORTURE_ADDER"

func TestMain(m *testing.M) {
	for env, work := range map[string]func(job string) error{adderEnv: addTo, writerEnv: writeTo} {
		job := os.Getenv(env)
		if job == "" {
			continue
		}
		if err := work(job); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func addTo(job string) error {
	addr, times, _ := strings.Cut(job, " ")
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, err := lockstep.Open(ctx, "redis://"+addr, redisengine.Driver, lockstep.WithLogger(nil))
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.Counter("hits").Add(ctx, 1); err != nil {
			return err
		}
	}
	return c.Close()
}

// S4: 8 processes add to one counter, each through a proxy of its own that loses one
// reply of twenty: the request was carried out, and its connection ends without a
// word about it.
func TestEightProcessesCountExactlyThoughRepliesAreLost(t *testing.T) {
	const processes, each, lost = 8, 1000, 0.05
	s := redistest.Start(t)
	var all sync.WaitGroup
	var rules []*faultnet.Rule
	requests := make([]int, processes)
	for i := range processes {
		p := faultnet.New(t, s.Addr, faultnet.RESP)
		random := rand.New(rand.NewPCG(uint64(i), 0))
		rules = append(rules, p.ResetAtReply(func(request []byte) bool {
			if !bytes.Contains(request, []byte("hits")) {
				return false // a connection is being set up, or a script loaded
			}
			requests[i]++
			return random.Float64() < lost
		}))
		all.Go(func() {
			cmd := exec.CommandContext(guarded(t, 10*hang), os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", adderEnv, p.Addr, each))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %d: %v: %s", i, err, out)
			}
		})
	}
	all.Wait()
	asked, losses := 0, 0
	for i, r := range rules {
		asked += requests[i]
		losses += r.Hits()
	}
	t.Logf("%d additions: %d requests, of which %d lost their reply", processes*each, asked, losses)
	if losses < processes*each/20 {
		t.Errorf("too few for 5 %%")
	}
	if n, err := open(t, s.Addr, lockstep.DefaultTTL).Counter("hits").Get(guarded(t, hang)); err != nil || n != processes*each {
		t.Errorf("the counter is %d, %v", n, err)
	}
}
