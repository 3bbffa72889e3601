package condition

import "gatewright.dev/sdk/policy/v1alpha"

// ForPolicies is the cache as policies are given it: their conditions are those of attachments.
func (c *Cache) ForPolicies() v1alpha.Conditions { return forPolicies{c} }

type forPolicies struct{ cache *Cache }

func (f forPolicies) Compile(text string) (v1alpha.Condition, error) {
	made, err := f.cache.Compile(text)
	if err != nil {
		return nil, err // and not a nil *Condition, which would be a Condition
	}
	return made, nil
}
