// Package sharing makes one value of equal ones.
package sharing

import (
	"runtime"
	"sync"
	"weak"
)

// Cache shares what is made of the same key among its users, for as long as there are any. The zero value is empty and ready for
// many goroutines.
type Cache[K comparable, V any] struct {
	mutex sync.Mutex
	known map[K]weak.Pointer[V]
}

// Get returns the shared value of the key, which `create` makes if there is none.
func (c *Cache[K, V]) Get(key K, create func() (*V, error)) (*V, error) {
	if shared := c.find(key); shared != nil {
		return shared, nil
	}
	created, err := create()
	if err != nil {
		return nil, err
	}
	return c.keep(key, created), nil
}

func (c *Cache[K, V]) find(key K) *V {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.known[key].Value()
}

// keep returns the shared value: this one, or one that another goroutine has added meanwhile.
func (c *Cache[K, V]) keep(key K, value *V) *V {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if shared := c.known[key].Value(); shared != nil {
		return shared
	}
	if c.known == nil {
		c.known = map[K]weak.Pointer[V]{}
	}
	c.known[key] = weak.Make(value)
	runtime.AddCleanup(value, c.forget, key)
	return value
}

// forget removes a key whose value is no longer used.
func (c *Cache[K, V]) forget(key K) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.known[key].Value() == nil {
		delete(c.known, key)
	}
}

// Len returns the number of keys.
func (c *Cache[K, V]) Len() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.known)
}
