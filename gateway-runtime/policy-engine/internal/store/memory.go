package store

import (
	"context"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// memory is a store in the engine. All entries together take at most its limit: when they would take more, the space that
// takes most gives up what was used longest ago, so that a flood of keys at one API costs that API its own entries first.
// A kept space gives up nothing: it refuses what it has no room for. All kept spaces together have keptShare of the limit,
// so that others have room, too.
//
// Time is that of a clock that never goes back.
type memory struct {
	now     func() time.Duration
	limit   atomic.Int64
	held    atomic.Int64
	kept    atomic.Int64 // of it, what kept spaces hold
	entries atomic.Int64
	evicted atomic.Uint64
	stop    chan struct{}
	once    sync.Once

	mu     sync.RWMutex
	spaces map[string]*memorySpace
}

// sweepEvery is how often entries that have ended are looked for.
const sweepEvery = time.Second

// keptShare is how much of the limit kept spaces may take, in quarters.
const keptShare = 3

// evictedAtOnce is how many entries a space gives up before it is asked again which one takes most.
const evictedAtOnce = 16

func monotonic() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

func newMemory(limit int64, now func() time.Duration) *memory {
	m := &memory{now: now, spaces: map[string]*memorySpace{}, stop: make(chan struct{})}
	m.limit.Store(limit)
	go m.sweepAgainAndAgain()
	return m
}

func (m *memory) close() { m.once.Do(func() { close(m.stop) }) }

// keptLimit is how much kept spaces may hold.
func (m *memory) keptLimit() int64 { return m.limit.Load() / 4 * keptShare }

func (m *memory) resize(limit int64) {
	m.limit.Store(limit)
	m.shrink()
}

// change calls f with the lock of a space held, then makes room.
func (m *memory) change(space string, f func(s *memorySpace, now time.Duration)) {
	s := m.space(space)
	f(s, m.now())
	s.mu.Unlock()
	if m.held.Load() > m.limit.Load() {
		m.shrink()
	}
}

// space returns a space, locked.
func (m *memory) space(name string) *memorySpace {
	for {
		m.mu.RLock()
		s := m.spaces[name]
		m.mu.RUnlock()
		if s == nil {
			s = m.makeSpace(name)
		}
		s.mu.Lock()
		if !s.gone {
			return s
		}
		s.mu.Unlock()
	}
}

func (m *memory) makeSpace(name string) *memorySpace {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.spaces[name]; s != nil {
		return s
	}
	s := newMemorySpace(m, isKept(name))
	m.spaces[name] = s
	return s
}

// shrink has the largest spaces give up entries until all that is left fits.
func (m *memory) shrink() {
	for m.held.Load() > m.limit.Load() {
		largest := m.largest()
		if largest == nil {
			return
		}
		largest.mu.Lock()
		largest.sweep(m.now())
		for range evictedAtOnce {
			if m.held.Load() > m.limit.Load() && largest.removeOldest() {
				m.evicted.Add(1)
			}
		}
		largest.mu.Unlock()
	}
}

// largest returns the space that holds most of those that evict, or nil.
func (m *memory) largest() (largest *memorySpace) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	most := int64(0)
	for _, s := range m.spaces {
		if bytes := s.bytes.Load(); bytes > most && !s.kept {
			largest, most = s, bytes
		}
	}
	return largest
}

func (m *memory) sweepAgainAndAgain() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
			m.sweep()
		}
	}
}

// sweep removes what has ended, and spaces without entries.
func (m *memory) sweep() {
	m.mu.RLock()
	all := make(map[string]*memorySpace, len(m.spaces))
	for name, s := range m.spaces {
		all[name] = s
	}
	m.mu.RUnlock()
	for name, s := range all {
		s.mu.Lock()
		s.sweep(m.now())
		empty := s.isEmpty()
		s.mu.Unlock()
		if empty {
			m.removeSpace(name, s)
		}
	}
}

func (m *memory) removeSpace(name string, s *memorySpace) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEmpty() {
		s.gone = true
		delete(m.spaces, name)
	}
}

// ---------------------------------------------------------------- the operations

// Values and what is throttled have keys of their own.
const (
	ofValues    = "k:"
	ofThrottled = "t:"
)

func (m *memory) get(_ context.Context, space, key string) (value []byte, found bool, err error) {
	m.change(space, func(s *memorySpace, now time.Duration) {
		if e := s.find(ofValues+key, now); e != nil {
			value, found = e.value, true // never changed in place
		}
	})
	return value, found, nil
}

func (m *memory) set(_ context.Context, space, key string, value []byte, ttl time.Duration, ifAbsent bool) (written bool, err error) {
	if size := entryBytes(ofValues+key, value); size > m.limit.Load() {
		return false, full("an entry of %d bytes does not fit the store, which may take %d (spec.store.maxBytes of the Gateway)", size, m.limit.Load())
	}
	copied := append(make([]byte, 0, len(value)), value...)
	m.change(space, func(s *memorySpace, now time.Duration) {
		e := s.find(ofValues+key, now)
		if e != nil && ifAbsent {
			return
		}
		if err = s.checkRoom(ofValues+key, copied, now); err != nil {
			return
		}
		s.put(ofValues+key, copied, now+ttl, now)
		written = true
	})
	return written, err
}

func (m *memory) increment(_ context.Context, space, key string, by int64, ttl time.Duration) (sum int64, err error) {
	m.change(space, func(s *memorySpace, now time.Duration) {
		before, ends := int64(0), now+ttl
		if e := s.find(ofValues+key, now); e != nil {
			ends = e.ends
			if before, err = number(e.value); err != nil {
				err = notANumber(key)
				return
			}
		}
		if (by > 0 && before > math.MaxInt64-by) || (by < 0 && before < math.MinInt64-by) {
			err = notANumber(key)
			return
		}
		text := strconv.AppendInt(nil, before+by, 10)
		if err = s.checkRoom(ofValues+key, text, now); err != nil {
			return
		}
		sum = before + by
		s.put(ofValues+key, text, ends, now)
	})
	return sum, err
}

// number takes what Valkey takes: no sign but "-", no zeros before.
func number(text []byte) (int64, error) {
	value, err := strconv.ParseInt(string(text), 10, 64)
	if err == nil && strconv.FormatInt(value, 10) != string(text) {
		return 0, strconv.ErrSyntax
	}
	return value, err
}

func (m *memory) expire(_ context.Context, space, key string, ttl time.Duration) (found bool, err error) {
	m.change(space, func(s *memorySpace, now time.Duration) {
		if e := s.find(ofValues+key, now); e != nil {
			s.put(ofValues+key, e.value, now+ttl, now)
			found = true
		}
	})
	return found, nil
}

func (m *memory) delete(_ context.Context, space, key string) (found bool, err error) {
	m.change(space, func(s *memorySpace, now time.Duration) {
		if e := s.find(ofValues+key, now); e != nil {
			s.remove(ofValues + key)
			found = true
		}
	})
	return found, nil
}

func (m *memory) throttle(_ context.Context, space, key string, limit v1alpha.Limit, cost int64) (answer v1alpha.Throttled, err error) {
	m.change(space, func(s *memorySpace, now time.Duration) {
		var tat, next float64
		if e := s.find(ofThrottled+key, now); e != nil {
			tat = e.tat
		}
		if err = s.checkRoom(ofThrottled+key, nil, now); err != nil {
			return
		}
		micros := float64(now) / float64(time.Microsecond)
		if next, answer = limit.Decide(tat, micros, cost); next != tat && next > micros {
			s.put(ofThrottled+key, nil, now+answer.ResetAfter, now).tat = next
		}
	})
	return answer, err
}
