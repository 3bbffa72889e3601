package condition

// Kept is the number of texts in the cache.
func Kept(c *Cache) int { return c.shared.Len() }
