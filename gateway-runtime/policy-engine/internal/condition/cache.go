package condition

import (
	"runtime"
	"sync"
	"weak"
)

// Cache shares conditions of the same text among their users, for as long as there are any. The zero value is empty and
// ready for many goroutines.
type Cache struct {
	mutex sync.Mutex
	known map[string]weak.Pointer[Condition]
}

// Compile is the package's Compile, except that each text is compiled once.
func (c *Cache) Compile(text string) (*Condition, error) {
	if shared := c.find(text); shared != nil {
		return shared, nil
	}
	compiled, err := Compile(text)
	if err != nil {
		return nil, err
	}
	return c.keep(text, compiled), nil
}

func (c *Cache) find(text string) *Condition {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.known[text].Value()
}

// keep returns the shared condition: compiled, or one that another goroutine has added meanwhile.
func (c *Cache) keep(text string, compiled *Condition) *Condition {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if shared := c.known[text].Value(); shared != nil {
		return shared
	}
	if c.known == nil {
		c.known = map[string]weak.Pointer[Condition]{}
	}
	c.known[text] = weak.Make(compiled)
	runtime.AddCleanup(compiled, c.forget, text)
	return compiled
}

// forget removes a text whose condition is no longer used.
func (c *Cache) forget(text string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.known[text].Value() == nil {
		delete(c.known, text)
	}
}
