package recording

import (
	"sync"
	"sync/atomic"
)

// memory is what recording may take, in parts: half of it for what is kept, a quarter for exchanges under way, and but for
// harmlessShare, a quarter for what waits for those who follow.
type memory struct {
	limit atomic.Int64
	used  atomic.Int64 // by exchanges under way

	queued atomic.Int64 // for those who follow
}

// harmlessShare is which part of all the headers take of which it is known that they have no secret.
const harmlessShare = 32

// reserve takes memory for an exchange under way, if there is some.
func (m *memory) reserve(bytes int64) bool {
	if m.used.Add(bytes) > m.limit.Load()/4 {
		m.used.Add(-bytes)
		return false
	}
	return true
}

// force takes it in any case: it is small, and there already.
func (m *memory) force(bytes int64) int64 {
	m.used.Add(bytes)
	return bytes
}

func (m *memory) release(bytes int64) { m.used.Add(-bytes) }

// queue takes memory for an exchange that waits for a follower, if there is some.
func (m *memory) queue(bytes int64) bool {
	if limit := m.limit.Load(); m.queued.Add(bytes) > limit/4-limit/harmlessShare {
		m.queued.Add(-bytes)
		return false
	}
	return true
}

func (m *memory) unqueue(bytes int64) { m.queued.Add(-bytes) }

// kept are the exchanges that were recorded, the oldest first, as JSON.
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

// entrySize is what an entry takes beside its text: its place in the list, twice, for that grows by half of it, and its id.
const entrySize = 160

func (e *entry) size() int64 { return int64(cap(e.text)) + entrySize }

// add keeps one more, and lets the oldest go beyond limit bytes.
func (k *kept) add(one entry, limit int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if one.size() > limit {
		k.evicted++
		return
	}
	k.shrink(limit - one.size())
	k.entries = append(k.entries, one)
	k.bytes += one.size()
}

// shrink lets the oldest go until no more than limit bytes are kept.
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

// setLimit lets the oldest go until no more than limit bytes are kept.
func (k *kept) setLimit(limit int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.shrink(limit)
}

// all are those that are kept, the oldest first.
func (k *kept) all() []entry {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return append([]entry(nil), k.entries[k.first:]...)
}

// clear forgets all of them, and returns how many there were.
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
