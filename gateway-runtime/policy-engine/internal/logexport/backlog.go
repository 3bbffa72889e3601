package logexport

import "sync"

// backlog bounds the lines that wait for a collector, by number and by bytes. Lines leave it in the order in which
// they came.
type backlog struct {
	mu    sync.Mutex
	sizes []int // of the lines
	bytes int
}

// add adds a line if there is room for it, and reports whether there was.
func (b *backlog) add(size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sizes) >= mostWaiting || b.bytes+size > mostWaitingBytes {
		return false
	}
	b.sizes, b.bytes = append(b.sizes, size), b.bytes+size
	return true
}

// remove removes up to count lines from the front, and returns how many there were.
func (b *backlog) remove(count int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	count = min(count, len(b.sizes))
	for _, size := range b.sizes[:count] {
		b.bytes -= size
	}
	b.sizes = b.sizes[count:]
	return count
}
