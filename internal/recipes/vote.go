package recipes

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
)

// voteTheirs is what one writes by hand: no library has it.
//
//nolint:protogetter // as articles write it
func voteTheirs(ctx context.Context, client *clientv3.Client, voter, choice string, voters int) (string, error) {
	// recipe vote: by hand, on etcd
	// A key for each voter, made only once: a repeat finds the first choice.
	key := "votes/rollout-7/" + voter
	_, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, choice)).
		Commit()
	if err != nil {
		return "", err
	}
	// Watch before counting, or the last vote may come in between.
	watch := client.Watch(ctx, "votes/rollout-7/", clientv3.WithPrefix())
	for {
		votes, err := client.Get(ctx, "votes/rollout-7/", clientv3.WithPrefix())
		if err != nil {
			return "", err
		}
		count := make(map[string]int)
		for _, kv := range votes.Kvs {
			choice := string(kv.Value)
			if count[choice]++; 2*count[choice] > voters {
				return choice, nil
			}
		}
		if len(votes.Kvs) == voters {
			return "", fmt.Errorf("no majority: %v", count) // and nobody may ever delete a vote
		}
		if r, ok := <-watch; !ok || r.Err() != nil {
			return "", fmt.Errorf("watch: %w, %w", r.Err(), ctx.Err())
		}
	}
	// end
}

func voteOurs(ctx context.Context, c *lockstep.Client, voter, choice string, voters int) (string, error) {
	// recipe vote: Lockstep
	ballot := c.Ballot("rollout-7", lockstep.AnyVoters(voters))
	if _, err := ballot.Vote(ctx, voter, choice); err != nil {
		return "", err
	}
	decision, err := ballot.Decision(ctx) // the same for all, and it never changes
	return decision.Choice, err
	// end
}
