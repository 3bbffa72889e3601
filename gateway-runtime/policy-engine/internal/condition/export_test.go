package condition

// Kept is how many texts the cache knows.
func Kept(c *Cache) int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.known)
}
