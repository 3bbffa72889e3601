package v1alpha

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Store is state that outlives an exchange: in the engine's memory, or in the Valkey that the Gateway names (spec.store),
// and then all nodes share it. A Factory finds it in its Metadata. What it holds belongs to the policy's name and the API
// that attaches it: other policies, and the same policy at other APIs, have keys of their own. It is what policies can
// afford to lose: memory is bounded, and a restart empties it.
//
// Keys have 1 to MaxStoreKey bytes, values at most MaxStoreValue. Each entry has an end: a ttl is more than 0 and at most
// MaxStoreTTL. What breaks these bounds is an error that wraps ErrStoreInput. A store that does not answer is a *Failure of
// ClassUnavailable: returned as it is, the attachment's onError decides.
//
// Throttle has keys of its own: Get, Expire and Delete do not see them.
type Store interface {
	// Get returns the value of key, and whether there is one.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Set writes value for ttl from now; with ifAbsent only where the key has none. It returns whether it has.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration, ifAbsent bool) (written bool, err error)
	// Increment adds by, which may be below 0, to a whole number in decimal, and returns the sum. A key that is not there is
	// 0, and ends ttl after it is made; later calls leave that end. A value that is no number, and a sum beyond int64, wrap
	// ErrStoreInput and change nothing.
	Increment(ctx context.Context, key string, by int64, ttl time.Duration) (sum int64, err error)
	// Expire has the key end ttl from now, and returns whether there is one.
	Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error)
	// Delete removes the key, and returns whether there was one.
	Delete(ctx context.Context, key string) (found bool, err error)
	// Throttle takes cost from what limit allows at key, if that much is there. Cost 0 takes nothing and only looks.
	Throttle(ctx context.Context, key string, limit Limit, cost int64) (Throttled, error)
	// Shared is the store that the policy has in common at all APIs that attach it.
	Shared() Store
	// Kept is a store with keys of its own whose entries are not evicted before their end: a write for which there is no room
	// wraps ErrStoreFull. It is for entries whose loss would let something pass, and that no stranger can make many of. In
	// memory they take at most three quarters of what the store may take. In a Valkey its maxmemory-policy has to be
	// noeviction.
	Kept() Store
}

// The bounds of what a Store takes.
const (
	MaxStoreKey   = 1 << 10              // bytes
	MaxStoreValue = 1 << 20              // bytes
	MaxStoreTTL   = 366 * 24 * time.Hour // and for as long a throttled key may be remembered
	maxRate       = 1_000_000            // of a Limit, per second
	maxBurst      = 1_000_000_000        // of a Limit
)

var (
	// ErrStoreInput is what errors about keys, values, times and limits wrap: the policy is at fault, not the store.
	ErrStoreInput = errors.New("store")
	// ErrStoreFull is what an error wraps, beside a *Failure of ClassUnavailable, where there is no room for an entry.
	ErrStoreFull = errors.New("the store is full")
)

// Limit allows Rate in each Per, evenly: after Burst at once, the next one is allowed Per/Rate later (GCRA, as ITU-T I.371
// has it).
type Limit struct {
	Rate  int64
	Per   time.Duration
	Burst int64 // 0: as Rate
}

// Throttled is what Throttle says.
type Throttled struct {
	Allowed    bool
	Remaining  int64         // what would be allowed right now
	RetryAfter time.Duration // until the same cost is allowed; 0 where it was
	ResetAfter time.Duration // until all of Burst is there
}

// Check is an error that wraps ErrStoreInput where the limit, or the cost, is none.
func (l Limit) Check(cost int64) error {
	l = l.withDefaults()
	switch {
	case l.Rate < 1 || l.Per < time.Millisecond || l.Per > MaxStoreTTL:
		return fmt.Errorf("%w: limit: expected a rate from 1 in a time from 1 ms to %s, got %d per %s", ErrStoreInput, MaxStoreTTL, l.Rate, l.Per)
	case float64(l.Rate)/l.Per.Seconds() > maxRate:
		return fmt.Errorf("%w: limit: expected at most %d in a second, got %d per %s", ErrStoreInput, maxRate, l.Rate, l.Per)
	case l.Burst < 1 || l.Burst > maxBurst || float64(l.Burst)*l.interval() > float64(MaxStoreTTL.Microseconds()):
		return fmt.Errorf("%w: limit: expected a burst from 1 to %d that is back within %s, got %d", ErrStoreInput, maxBurst, MaxStoreTTL, l.Burst)
	case cost < 0 || cost > l.Burst:
		return fmt.Errorf("%w: cost: expected 0 to the limit's burst, %d, got %d", ErrStoreInput, l.Burst, cost)
	}
	return nil
}

func (l Limit) withDefaults() Limit {
	if l.Burst == 0 {
		l.Burst = l.Rate
	}
	return l
}

// interval is the time between two that are allowed, in microseconds.
func (l Limit) interval() float64 { return float64(l.Per.Microseconds()) / float64(l.Rate) }

// Decide is GCRA: what Throttle does with what it remembers of a key. That is one time, tat: when all of the burst is there
// again. Times are microseconds since any moment; one that is over, as 0, is a key of which nothing is known. It returns the
// time to remember, which where nothing is taken is the one that it was.
//
// A tat further away than an empty limit's is taken for that one, so that neither a clock that was set back nor another limit
// than before locks anybody out. The same arithmetic stands in the engine's script for Valkey and in the Python SDK;
// conformance/store.json holds the three together.
func (l Limit) Decide(tat, now float64, cost int64) (next float64, answer Throttled) {
	l = l.withDefaults()
	interval := l.interval()
	room := float64(l.Burst) * interval
	tat = min(max(tat, now), now+room)
	next = tat + float64(cost)*interval
	answer.Allowed = next-now <= room+tolerance
	if !answer.Allowed {
		answer.RetryAfter = micros(next - room - now)
		next = tat
	}
	answer.Remaining = int64(math.Floor((room-(next-now))/interval + tolerance))
	answer.ResetAfter = micros(next - now)
	return next, answer
}

// tolerance is what rounding may be off by, of one microsecond or of one that is allowed.
const tolerance = 1e-3

func micros(count float64) time.Duration {
	return time.Duration(math.Ceil(count-tolerance)) * time.Microsecond
}
