package condition

// Kept is the number of texts in the cache.
func Kept(c *Cache) int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.known)
}
