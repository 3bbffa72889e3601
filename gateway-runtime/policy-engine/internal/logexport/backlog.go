package logexport

import "sync"

// backlog is what waits for one collector: so many lines, and so many bytes of them, as there may. Lines leave it in the
// order in which they came.
type backlog struct {
	mu    sync.Mutex
	sizes []int // of the lines
	bytes int
}

// add reports whether there was room for one more.
func (b *backlog) add(size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sizes) >= mostWaiting || b.bytes+size > mostWaitingBytes {
		return false
	}
	b.sizes, b.bytes = append(b.sizes, size), b.bytes+size
	return true
}

// take takes the first out, and returns how many of these there were.
func (b *backlog) take(count int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	count = min(count, len(b.sizes))
	for _, size := range b.sizes[:count] {
		b.bytes -= size
	}
	b.sizes = b.sizes[count:]
	return count
}
