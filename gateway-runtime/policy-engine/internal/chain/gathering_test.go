package chain_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// trickling delays each piece of the request's body, and its end, by a second.
func (t *transcript) trickling(limit time.Duration) *transcript {
	t.limit = limit
	t.waits = func(ctx context.Context, what string) error {
		if !strings.HasPrefix(what, "request ") {
			return nil
		}
		select {
		case <-time.After(time.Second):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return t
}

const unfinished = `answer 408 request_overall_timeout [content-type:application/problem+json] {"type":"about:blank","title":"Request Timeout","status":408,"detail":"The request did not arrive completely within the time limit.","requestId":"id-1"}`

func TestABufferedBodyHasATimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, began := post("a", "b", "c", "d").trickling(2500*time.Millisecond), time.Now()
		if err := x.run(t, x.marks("before", "hH"), x.marks("reads", "bB"), x.marks("behind", "hH")); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2500*time.Millisecond {
			t.Errorf("took %v", took)
		}
		x.expect(t, `
			before: request
			read a
			read b
			before: response 408
			`+strings.Replace(unfinished, "json]", "json,x-mark:before]", 1))
	})
}

func TestAGRPCClientGetsAStatusForAnUnfinishedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := post("a", "b").trickling(time.Second / 2)
		x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "content-type", Value: "application/grpc"})
		_ = x.run(t, x.marks("reads", "b"))
		x.expect(t, `answer 408 request_overall_timeout [] The request did not arrive completely within the time limit.`)
	})
}

// TestABodyStreamedBeforeItIsBufferedHasATimeLimit, even if policies that stream it stand before the policy that needs
// it whole.
func TestABodyStreamedBeforeItIsBufferedHasATimeLimit(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		synctest.Test(t, func(t *testing.T) {
			x, began := post("a", "b", "c", "d").trickling(1500*time.Millisecond), time.Now()
			if err := x.run(t, x.streams(kind, "one", "s", wraps), x.streams(kind, "two", "s", wraps), x.marks("reads", "b")); err != nil {
				t.Error(err)
			}
			if last := x.lines[len(x.lines)-1]; last != unfinished {
				t.Errorf("got %v", x.lines)
			}
			if took := time.Since(began); took != 2500*time.Millisecond { // the streams have passed it on with their first chunk
				t.Errorf("took %v", took)
			}
			for _, policy := range []string{"one:v1.0.0", "two:v1.0.0"} {
				if seen := x.observer.of(policy); len(seen) != 1 || !seen[0].Cancelled || seen[0].Failure != nil {
					t.Errorf("%s: observed %+v", policy, seen)
				}
			}
		})
	})
}

func TestAReplacedBodyHasATimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := post("a", "b", "c", "d").trickling(1500 * time.Millisecond)
		body := []byte("new")
		makes := x.onRequest("makes", "h", &v1alpha.UpstreamRequestModifications{Body: &body}, nil)
		_ = x.run(t, makes, x.marks("small", "b", limit(1), goesOn))
		if last := x.lines[len(x.lines)-1]; last != unfinished {
			t.Errorf("got %v", x.lines)
		}
	})
}

func TestABodyThatIsNotBufferedHasNoTimeLimit(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for name, policies := range map[string]func(x *transcript) []*chain.Instance{
			"headers": func(x *transcript) []*chain.Instance { return []*chain.Instance{x.marks("one", "hH")} },
			"a stream": func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.marks("one", "hH"), x.streams(kind, "two", "s", wraps)}
			},
			"a body beyond what a policy takes": func(x *transcript) []*chain.Instance { return []*chain.Instance{x.marks("one", "b", limit(1), goesOn)} },
			"the response":                      func(x *transcript) []*chain.Instance { return []*chain.Instance{x.marks("one", "B")} },
		} {
			synctest.Test(t, func(t *testing.T) {
				x := post("ab", "c", "d", "e").answers("f").trickling(1500 * time.Millisecond)
				if err := x.run(t, policies(x)...); err != nil || slices.ContainsFunc(x.lines, func(line string) bool { return strings.HasPrefix(line, "answer") }) {
					t.Errorf("%s: got %v, %v", name, err, x.lines)
				}
			})
		}
	})
}
