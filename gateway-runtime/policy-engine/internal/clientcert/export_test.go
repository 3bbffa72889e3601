package clientcert

// Size is how many certificates are remembered.
func (c *Cache) Size() int { return len(c.recent) + len(c.older) }
