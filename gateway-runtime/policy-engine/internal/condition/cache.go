package condition

import "gatewright.dev/policy-engine/internal/sharing"

// Cache shares conditions of the same text among their users, for as long as there are any. The zero value is empty and
// ready for many goroutines.
type Cache struct {
	shared sharing.Cache[string, Condition]
}

// Compile is the package's Compile, except that each text is compiled once.
func (c *Cache) Compile(text string) (*Condition, error) {
	return c.shared.Get(text, func() (*Condition, error) { return Compile(text) })
}
