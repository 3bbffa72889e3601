package chain_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestTheRequestsBodyInTheResponseIsTheOneLastHeldWhole: not a part of the output of later streams.
func TestTheRequestsBodyInTheResponseIsTheOneLastHeldWhole(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for point, behind := range map[string]struct {
			letters []string
			want    string
		}{
			"a stream":                               {[]string{"s"}, "abcd"},
			"two streams":                            {[]string{"s", "s"}, "abcd"},
			"a stream, one that reads, a stream":     {[]string{"s", "b", "s"}, "p0(abcd)"},
			"one that reads too little of a stream":  {[]string{"s", "b!"}, "abcd"},
			"one that reads too little, and streams": {[]string{"s", "b!", "s"}, "abcd"},
		} {
			x := post("ab", "cd").answers("ef").inTurn()
			seen := "nothing"
			instances := []*chain.Instance{x.policy(&does{name: "asks", response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
				seen = string(r.Request.Body)
				return nil, nil
			}}, "bH", keepsBody)}
			for n, letters := range behind.letters {
				name := string([]byte{'p', byte('0' + n)})
				switch letters {
				case "s":
					instances = append(instances, x.streams(kind, name, "s", wraps))
				case "b":
					instances = append(instances, x.policy(&does{name: name}, "b"))
				default:
					instances = append(instances, x.policy(&does{name: name}, "b", limit(3), goesOn))
				}
			}
			if err := x.run(t, instances...); err != nil || seen != behind.want {
				t.Errorf("%s: %v; expected %q, got %q", point, err, behind.want, seen)
			}
		}
	})
}

// TestABodyThatSkipsAPolicyIsComplete: a policy that fails while its own goroutine asks for a chunk has read that
// chunk, or none.
func TestABodyThatSkipsAPolicyIsComplete(t *testing.T) {
	asksAndFails := func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			begins := make(chan struct{})
			asks := make(chan struct{})
			go func() {
				defer close(asks)
				close(begins)
				for _, err := range chunks {
					if err != nil {
						return
					}
				}
			}()
			<-begins
			yield(nil, v1alpha.Failf(v1alpha.ClassUnavailable, "no process"))
			<-asks
		}
	}
	for range 3000 {
		x := post("ab", "cd")
		err := x.run(t, x.policy(&does{name: "holds"}, "b"), x.streams("keeping", "one", "s", asksAndFails, goesOn))
		last := x.lines[len(x.lines)-1]
		if err != nil || !strings.HasPrefix(last, "answer 503") && !slices.Contains(x.lines, "send all of abcd") {
			t.Fatalf("%v; %v", err, x.lines)
		}
	}
}
