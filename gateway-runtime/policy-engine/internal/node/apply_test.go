package node

import (
	"errors"
	"fmt"
	"testing"

	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestOnlyWhatMayPassIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("clusters: %w", xds.ErrNoAnswer), true},
		{fmt.Errorf("policy a: %w", v1alpha.Failf(v1alpha.ClassUnavailable, "no executor")), true},
		{v1alpha.Failf(v1alpha.ClassTimeout, "prepare took long"), true},
		{v1alpha.Failf(v1alpha.ClassCrashed, "the executor was lost twice"), false},
		{v1alpha.Failf(v1alpha.ClassException, "prepare raised"), false},
		{errors.New("unknown policy"), false},
	} {
		if got := mayPass(c.err); got != c.want {
			t.Errorf("mayPass(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}
