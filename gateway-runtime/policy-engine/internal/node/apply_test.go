package node

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestOnlyTransientErrorsAreRetried(t *testing.T) {
	fails := func(err error) error {
		_, failed := runFactory(Policy{Factory: func(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return nil, err }},
			v1alpha.Metadata{}, nil)
		return failed
	}
	several := func(errs ...error) error {
		var wrong buildErrors
		wrong.add("GET /", errs)
		return wrong.err()
	}
	away, lost := fails(errors.New("no route to host")), fails(v1alpha.Failf(v1alpha.ClassCrashed, "the executor was lost twice"))
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("clusters: %w", xds.ErrNoAnswer), true},
		{fmt.Errorf("policy a: %w", fails(v1alpha.Failf(v1alpha.ClassUnavailable, "no executor"))), true},
		{fails(v1alpha.Failf(v1alpha.ClassTimeout, "prepare took long")), true},
		{fails(v1alpha.Failf(v1alpha.ClassException, "prepare raised")), true},
		{away, true},
		{lost, false},
		{several(away, away), true},
		{several(away, lost), false},
		{errors.New("unknown policy"), false},
	} {
		if got := transient.Is(c.err); got != c.want {
			t.Errorf("transient.Is(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestRetriesBackOffUpToALimit(t *testing.T) {
	timing := Timing{}.withDefaults()
	for tries, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 4: 16 * time.Second, 5: 30 * time.Second, 9999: 30 * time.Second} {
		if got := timing.retry().Wait(tries); got != want {
			t.Errorf("after %d tries: expected %s, got %s", tries, want, got)
		}
	}
}

// TestAttachmentsSayHowLongStreamsMayTake: the engine's settings, and the policy's metadata.
func TestAttachmentsSayHowLongStreamsMayTake(t *testing.T) {
	for milliseconds, want := range map[uint32]time.Duration{0: time.Second, 250: 250 * time.Millisecond} {
		var seen v1alpha.Metadata
		policy := Policy{Name: "tag", Version: "v1.0.0", DefinitionDigest: "digest", Mode: headersOnly,
			Factory: func(metadata v1alpha.Metadata, _ v1alpha.Params) (v1alpha.Policy, error) {
				seen = metadata
				return tag{&shelf{}}, nil
			}}
		made := attachment("i", "{}")
		made.TimeoutMs, made.StreamIdleTimeoutMs = milliseconds, 1500
		c := &chains{policies: &atomic.Pointer[policies]{}}
		c.policies.Store(policiesOf([]Policy{policy}))
		built, err := c.buildInstance(&nodev1.ApiBundle{}, &boundAttachment{Attachment: made, instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		if got := built.instance.Settings(); seen.Timeout != want || got.Timeout != want || got.StreamIdleTimeout != 1500*time.Millisecond {
			t.Errorf("expected %v, got %v, %+v", want, seen.Timeout, got)
		}
	}
}
