package chain

import (
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// The chain knows no Envoy, so that the words that listeners look for in the details of its answers are held here.
func TestDetailsAreThoseThatListenersLookFor(t *testing.T) {
	for got, want := range map[string]string{
		policyDetails:     envoynames.PolicyDetailsPrefix,
		headersTooLarge:   envoynames.HeadersTooLargeDetails,
		unfinishedDetails: envoynames.RequestTimeoutDetails,
	} {
		if got != want {
			t.Errorf("details %q: expected %q, which listeners look for", got, want)
		}
	}
}
