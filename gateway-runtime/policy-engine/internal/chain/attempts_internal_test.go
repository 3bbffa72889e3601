package chain

import (
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

func TestAttemptsThatAreRefused(t *testing.T) {
	large, bytes, canary, dots := []byte(strings.Repeat("x", maxAttemptBytes+1)), []byte{0xff}, "canary", "/a/../b"
	tried := func(attempts ...v1alpha.Attempt) *v1alpha.UpstreamRequestModifications {
		return &v1alpha.UpstreamRequestModifications{Attempts: attempts}
	}
	both := tried(v1alpha.Attempt{Upstream: "main"})
	both.Upstream = &canary
	for expected, action := range map[string]*v1alpha.UpstreamRequestModifications{
		`attempts[1]: upstream: expected one of the API's (canary, main), got "other"`: tried(v1alpha.Attempt{Upstream: "main"}, v1alpha.Attempt{Upstream: "other"}),
		`attempts[1]: upstream: expected each once, got "main" twice`:                  tried(v1alpha.Attempt{Upstream: "main"}, v1alpha.Attempt{Upstream: "main"}),
		`attempts[0]: body: expected UTF-8`:                                            tried(v1alpha.Attempt{Upstream: "main", Body: &bytes}),
		`attempts: expected bodies of at most 16777216 bytes`:                          tried(v1alpha.Attempt{Upstream: "main", Body: &large}),
		`attempts[0]: path`: tried(v1alpha.Attempt{Upstream: "main", Path: &dots}),
		`attempts[0]: header "x-a": expected a value without control`: tried(v1alpha.Attempt{Upstream: "main", Set: []v1alpha.Header{{Name: "x-a", Value: "a\nb"}}}),
		`attempts[0]: header "x-a": expected UTF-8`:                   tried(v1alpha.Attempt{Upstream: "main", Set: []v1alpha.Header{{Name: "x-a", Value: "\xff"}}}),
		`attempts[0]: header "x-envoy-max-retries"`:                   tried(v1alpha.Attempt{Upstream: "main", Set: []v1alpha.Header{{Name: "x-envoy-max-retries", Value: "9"}}}),
		`attempts: expected at most 8, got 9`:                         tried(make([]v1alpha.Attempt, 9)...),
		`attempts: expected either upstream or attempts, got both`:    both,
	} {
		c := &Chain{spec: Spec{Upstreams: []string{"canary", "main"}, Failover: true}}
		if err := c.checkAttempts(action); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("expected %q, got %v", expected, err)
		}
	}
	without := &Chain{spec: Spec{Upstreams: []string{"main"}, Operation: "GET /"}}
	if err := without.checkAttempts(tried(v1alpha.Attempt{Upstream: "main"})); err == nil || !strings.Contains(err.Error(), "has no `failover`") {
		t.Errorf("expected a refusal without failover, got %v", err)
	}
	with := &Chain{spec: Spec{Upstreams: []string{"canary", "main"}, Failover: true}}
	if err := with.checkAttempts(tried(v1alpha.Attempt{Upstream: "main"}, v1alpha.Attempt{Upstream: "canary", Body: &[]byte{}})); err != nil {
		t.Errorf("expected two attempts to be accepted, got %v", err)
	}
}
