package addheaders

import (
	"example.com/add-headers/internal/words"
	policy "gatewright.dev/sdk/policy/v1alpha"
)

type addHeaders struct{}

func (addHeaders) String() string { return words.Say }

// GetPolicy builds the policy.
func GetPolicy(policy.Metadata, policy.Params) (policy.Policy, error) { return addHeaders{}, nil }
