package recording

import (
	"sync"
	"sync/atomic"
)

// memory is the budget of recording, in parts: half of it for recorded exchanges, a quarter for exchanges under way, and, except
// for harmlessShare, a quarter for exchanges that wait for followers.
type memory struct {
	limit atomic.Int64
	used  atomic.Int64 // by exchanges under way

	queued atomic.Int64 // by exchanges that wait for followers
}

// harmlessShare is the divisor of the memory for cached headers without a secret.
const harmlessShare = 32

// reserve takes memory for an exchange under way, if there is some left.
func (m *memory) reserve(bytes int64) bool {
	if m.used.Add(bytes) > m.limit.Load()/4 {
		m.used.Add(-bytes)
		return false
	}
	return true
}

// force takes memory in any case: the amount is small, and already in use.
func (m *memory) force(bytes int64) int64 {
	m.used.Add(bytes)
	return bytes
}

func (m *memory) release(bytes int64) { m.used.Add(-bytes) }

// queue takes memory for an exchange that waits for a follower, if there is some left.
func (m *memory) queue(bytes int64) bool {
	if limit := m.limit.Load(); m.queued.Add(bytes) > limit/4-limit/harmlessShare {
		m.queued.Add(-bytes)
		return false
	}
	return true
}

func (m *memory) unqueue(bytes int64) { m.queued.Add(-bytes) }

// kept are the recorded exchanges as JSON, the oldest first.
type kept struct {
	mutex   sync.Mutex
	entries []entry // from first on
	first   int
	bytes   int64
	evicted uint64
}

type entry struct {
	id   string
	text []byte
}

// entrySize is the memory of an entry beside its text: its place in the list, twice, since the list grows by half, and its id.
const entrySize = 160

func (e *entry) size() int64 { return int64(cap(e.text)) + entrySize }

// add keeps one more entry, and evicts the oldest ones beyond limit bytes.
func (k *kept) add(e entry, limit int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if e.size() > limit {
		k.evicted++
		return
	}
	k.shrink(limit - e.size())
	k.entries = append(k.entries, e)
	k.bytes += e.size()
}

// shrink evicts the oldest entries until at most limit bytes are kept.
func (k *kept) shrink(limit int64) {
	for k.bytes > limit && k.first < len(k.entries) {
		k.bytes -= k.entries[k.first].size()
		k.entries[k.first] = entry{}
		k.first++
		k.evicted++
	}
	if k.first > len(k.entries)/2 {
		k.entries = append(make([]entry, 0, len(k.entries)-k.first), k.entries[k.first:]...)
		k.first = 0
	}
}

// setLimit evicts the oldest entries until at most limit bytes are kept.
func (k *kept) setLimit(limit int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.shrink(limit)
}

// all returns the entries, the oldest first.
func (k *kept) all() []entry {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return append([]entry(nil), k.entries[k.first:]...)
}

// clear removes all entries, and returns their number.
func (k *kept) clear() int {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	count := len(k.entries) - k.first
	k.entries, k.first, k.bytes = nil, 0, 0
	return count
}

func (k *kept) stats() (count int, bytes int64, evicted uint64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return len(k.entries) - k.first, k.bytes, k.evicted
}
