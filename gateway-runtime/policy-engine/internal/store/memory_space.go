package store

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// memorySpace has the entries of one policy at one API. All but bytes is guarded by its mutex.
//
// An expired entry is not found, and sweep removes it: each key is in a list for the second of its next check.
// That is the second of its expiry, or sooner, lookAgain from now: so an entry that is rewritten often, or lives for months,
// leaves few traces in these lists.
type memorySpace struct {
	whole *memory
	kept  bool // its entries are not evicted
	bytes atomic.Int64

	mu      sync.Mutex
	gone    bool // removed: another space has its name
	entries *simplelru.LRU[string, *entry]
	looks   map[int64][]string // keys, by the second of their check
	listed  int                // keys in looks; including those of removed entries, and of entries with an earlier check
	looked  int64              // second up to which keys were checked
}

type entry struct {
	value []byte
	tat   float64       // of a throttle
	ends  time.Duration // by the memory's clock
	look  int64         // second of its check
}

// entryOverhead is the memory of an entry beside its key, twice, and its value: list, map and lists of keys.
const entryOverhead = 256

// lookAgain is the longest time between two checks of an entry, in seconds.
const lookAgain = 60

// listedBeside is the number of keys that the lists may have beside two for each entry.
const listedBeside = 64

func newMemorySpace(whole *memory, kept bool) *memorySpace {
	entries, err := simplelru.NewLRU[string, *entry](math.MaxInt, nil) // its owner bounds it by bytes
	if err != nil {
		panic(err) // it refuses only a size below 1
	}
	return &memorySpace{whole: whole, kept: kept, entries: entries, looks: map[int64][]string{}, looked: second(whole.now())}
}

func second(at time.Duration) int64 { return int64(at / time.Second) }

func entryBytes(key string, value []byte) int64 { return int64(2*len(key)+len(value)) + entryOverhead }

func (s *memorySpace) isEmpty() bool { return s.entries.Len() == 0 }

// find returns the entry of a key, if it has not expired. That counts as a use.
func (s *memorySpace) find(key string, now time.Duration) *entry {
	e, ok := s.entries.Get(key)
	if !ok || e.ends <= now {
		return nil
	}
	return e
}

// checkRoom returns ErrStoreFull if the space is a kept one and the entry would exceed the limit of all kept spaces.
// Spaces that are written at the same time may exceed the limit by an entry each.
func (s *memorySpace) checkRoom(key string, value []byte, now time.Duration) error {
	if !s.kept || s.fits(key, value) {
		return nil
	}
	if s.sweep(now); s.fits(key, value) {
		return nil
	}
	return full("an entry of %d bytes does not fit beside those that are kept until their end, which may take %d bytes, three quarters of spec.store.maxBytes of the Gateway", entryBytes(key, value), s.whole.keptLimit())
}

func (s *memorySpace) fits(key string, value []byte) bool {
	grows := entryBytes(key, value)
	if e, ok := s.entries.Peek(key); ok {
		grows -= entryBytes(key, e.value)
	}
	return grows <= 0 || s.whole.kept.Load()+grows <= s.whole.keptLimit()
}

// put writes an entry, and replaces the previous one of this key.
func (s *memorySpace) put(key string, value []byte, ends, now time.Duration) *entry {
	e, ok := s.entries.Peek(key)
	if !ok {
		e = &entry{look: math.MaxInt64}
		s.entries.Add(key, e)
		s.count(1, entryBytes(key, nil))
	}
	s.count(0, int64(len(value)-len(e.value)))
	e.value, e.ends = value, ends
	s.scheduleCheck(key, e, now)
	if s.listed > 2*s.entries.Len()+listedBeside {
		s.rebuildLists()
	}
	return e
}

// scheduleCheck puts an entry into the list of its next check.
func (s *memorySpace) scheduleCheck(key string, e *entry, now time.Duration) {
	look := min(second(e.ends)+1, max(second(now), s.looked)+lookAgain)
	if look < e.look {
		e.look = look
		s.looks[look] = append(s.looks[look], key)
		s.listed++
	}
}

// rebuildLists drops obsolete keys from the lists: no limit bounds the lists, and a flood of evicted keys would
// fill them.
func (s *memorySpace) rebuildLists() {
	clear(s.looks)
	keys := s.entries.Keys()
	for _, key := range keys {
		if e, ok := s.entries.Peek(key); ok {
			s.looks[e.look] = append(s.looks[e.look], key)
		}
	}
	s.listed = len(keys)
}

func (s *memorySpace) remove(key string) {
	if e, ok := s.entries.Peek(key); ok {
		s.entries.Remove(key)
		s.count(-1, -entryBytes(key, e.value))
	}
}

// removeOldest removes the least recently used entry, and reports whether there was one.
func (s *memorySpace) removeOldest() bool {
	key, _, ok := s.entries.GetOldest()
	if ok {
		s.remove(key)
	}
	return ok
}

// sweep removes expired entries.
func (s *memorySpace) sweep(now time.Duration) {
	for ; s.looked <= second(now); s.looked++ {
		keys := s.looks[s.looked]
		delete(s.looks, s.looked)
		s.listed -= len(keys)
		for _, key := range keys {
			e, ok := s.entries.Peek(key)
			switch {
			case !ok || e.look != s.looked: // another entry of this key, or one with another check
			case e.ends <= now:
				s.remove(key)
			default:
				e.look = math.MaxInt64
				s.scheduleCheck(key, e, now)
			}
		}
	}
}

func (s *memorySpace) count(entries int, bytes int64) {
	s.bytes.Add(bytes)
	s.whole.held.Add(bytes)
	s.whole.entries.Add(int64(entries))
	if s.kept {
		s.whole.kept.Add(bytes)
	}
}
