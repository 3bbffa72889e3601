package addheaders

import (
	"gatewright.dev/build/policies/add_headers_v1_9_0/internal/words"
	policy "gatewright.dev/sdk/policy/v1alpha"
)

type addHeaders struct{}

func (addHeaders) String() string { return words.Say }

// GetPolicy builds the policy.
func GetPolicy(policy.Metadata, policy.Params) (policy.Policy, error) { return addHeaders{}, nil }
