package store

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// memory is a store in the engine. All entries together take at most its limit: when they exceed it, the largest space
// evicts its least recently used entries, so that a flood of keys at one API first costs that API its own entries.
// A kept space evicts nothing: it refuses entries that do not fit. All kept spaces together have keptShare of the limit,
// so that other spaces have room, too.
//
// Its time is a monotonic clock.
type memory struct {
	now     func() time.Duration
	limit   atomic.Int64
	held    atomic.Int64
	kept    atomic.Int64 // the part of it in kept spaces
	entries atomic.Int64
	evicted atomic.Uint64
	stop    chan struct{}
	once    sync.Once

	mu     sync.RWMutex
	spaces map[string]*memorySpace
}

// sweepEvery is the time between two sweeps of expired entries.
const sweepEvery = time.Second

// keptShare is the share of the limit that kept spaces may take, in quarters.
const keptShare = 3

// evictedAtOnce is the number of entries that a space evicts before the largest space is determined again.
const evictedAtOnce = 16

func monotonic() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

func newMemory(limit int64, now func() time.Duration) *memory {
	m := &memory{now: now, spaces: map[string]*memorySpace{}, stop: make(chan struct{})}
	m.limit.Store(limit)
	go m.sweepPeriodically()
	return m
}

func (m *memory) close() { m.once.Do(func() { close(m.stop) }) }

// keptLimit returns the limit of all kept spaces together.
func (m *memory) keptLimit() int64 { return m.limit.Load() / 4 * keptShare }

func (m *memory) resize(limit int64) {
	m.limit.Store(limit)
	m.shrink()
}

// change calls f with the lock of a space held, and then evicts entries if necessary.
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

// shrink evicts entries from the largest spaces until the rest fits.
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

// largest returns the largest space with evictable entries, or nil.
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

func (m *memory) sweepPeriodically() {
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

// sweep removes expired entries, and spaces without entries.
func (m *memory) sweep() {
	m.mu.RLock()
	spaces := make(map[string]*memorySpace, len(m.spaces))
	for name, s := range m.spaces {
		spaces[name] = s
	}
	m.mu.RUnlock()
	for name, s := range spaces {
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

// Values, throttles and budgets have separate keys. In memory each reservation has an entry, too.
const (
	ofValues       = "k:"
	ofThrottled    = "t:"
	ofBudgets      = "b:"
	ofReservations = "n:"
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
		previous, ends := int64(0), now+ttl
		if e := s.find(ofValues+key, now); e != nil {
			ends = e.ends
			if previous, err = number(e.value); err != nil {
				err = notANumber(key)
				return
			}
		}
		if (by > 0 && previous > math.MaxInt64-by) || (by < 0 && previous < math.MinInt64-by) {
			err = notANumber(key)
			return
		}
		text := strconv.AppendInt(nil, previous+by, 10)
		if err = s.checkRoom(ofValues+key, text, now); err != nil {
			return
		}
		sum = previous + by
		s.put(ofValues+key, text, ends, now)
	})
	return sum, err
}

// number parses a number as Valkey does: no sign but "-", no leading zeros.
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

func (m *memory) reserve(_ context.Context, space, key, name string, amount int64, budget v1alpha.Budget) (answer v1alpha.Reserved, err error) {
	key, name = ofBudgets+key, reservationKey(key, name)
	m.change(space, func(s *memorySpace, now time.Duration) {
		var a account
		expires := now + budget.TTL
		if e := s.find(key, now); e != nil {
			a, expires = parseAccount(e.value), e.ends
		}
		a.dropEnded(now)
		answer = v1alpha.Reserved{Spent: a.spent, Reserved: a.reserved()}
		if s.find(name, now) != nil {
			answer.Allowed = true
			return
		}
		answer.Allowed = amount <= budget.AtMost-a.spent-answer.Reserved
		if !answer.Allowed || amount == 0 {
			return
		}
		held := slot{slotEnd(now, budget.Hold), amount}
		a.add(held)
		text, heldText := a.bytes(), account{slots: []slot{held}}.bytes()
		if err = errors.Join(s.checkRoom(key, text, now), s.checkRoom(name, heldText, now)); err != nil {
			answer = v1alpha.Reserved{}
			return
		}
		s.put(key, text, expires, now)
		s.put(name, heldText, expires, now)
		answer.Reserved += amount
	})
	return answer, err
}

func (m *memory) settle(_ context.Context, space, key, name string, amount int64) (settled bool, err error) {
	name = reservationKey(key, name)
	m.change(space, func(s *memorySpace, now time.Duration) {
		e, held := s.find(ofBudgets+key, now), s.find(name, now)
		if e == nil || held == nil {
			return
		}
		a := parseAccount(e.value)
		if a.spent > math.MaxInt64-amount {
			err = tooMuchSpent(key)
			return
		}
		a.spent += amount
		a.remove(parseAccount(held.value).slots[0])
		s.put(ofBudgets+key, a.bytes(), e.ends, now) // no larger than before: there is room for it
		s.remove(name)
		settled = true
	})
	return settled, err
}

// reservationKey is unique, since a key's length comes first.
func reservationKey(key, name string) string {
	return ofReservations + strconv.Itoa(len(key)) + ":" + key + name
}
