package chain_test

import (
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestTheRequestsBodyInTheResponseIsTheOneLastHeldWhole: not a part of what streams behind the policy yield.
func TestTheRequestsBodyInTheResponseIsTheOneLastHeldWhole(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for what, behind := range map[string]struct {
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
				t.Errorf("%s: %v; expected %q, got %q", what, err, behind.want, seen)
			}
		}
	})
}
