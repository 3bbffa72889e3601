package condition

import "gatewright.dev/sdk/policy/v1alpha"

// ForPolicies adapts the cache for policies: their conditions are the same as those of attachments.
func (c *Cache) ForPolicies() v1alpha.Conditions { return forPolicies{c} }

type forPolicies struct{ cache *Cache }

func (f forPolicies) Compile(text string) (v1alpha.Condition, error) {
	compiled, err := f.cache.Compile(text)
	if err != nil {
		return nil, err // not a nil *Condition, which would be a non-nil Condition
	}
	return compiled, nil
}
