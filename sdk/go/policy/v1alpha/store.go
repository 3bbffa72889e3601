package v1alpha

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Store is state that outlives an exchange: in the engine's memory, or in the Valkey that the Gateway names (spec.store),
// which all nodes share. A Factory finds it in its Metadata. Its entries belong to the policy's name and the API
// that attaches it: other policies, and the same policy at other APIs, have keys of their own. It is for state that policies can
// afford to lose: memory is bounded, and a restart empties it.
//
// Keys have 1 to MaxStoreKey bytes, values at most MaxStoreValue. Each entry expires: a ttl is more than 0 and at most
// MaxStoreTTL. An input beyond these bounds is an error that wraps ErrStoreInput. A store that does not answer is a *Failure of
// ClassUnavailable: if the policy returns it unchanged, the attachment's onError decides.
//
// Throttle, and Reserve with Settle, have keys of their own, which Get, Expire and Delete do not see.
type Store interface {
	// Get returns the value of key, and whether there is one.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Set writes value for ttl from now; with ifAbsent only if the key has none. It returns whether it has written.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration, ifAbsent bool) (written bool, err error)
	// Increment adds by, which may be negative, to a decimal integer, and returns the sum. A missing key counts as 0, and
	// expires ttl after its creation; later calls do not change that. A value that is no number, and a sum beyond int64, wrap
	// ErrStoreInput and change nothing.
	Increment(ctx context.Context, key string, by int64, ttl time.Duration) (sum int64, err error)
	// Expire has the key expire ttl from now, and returns whether there is one.
	Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error)
	// Delete removes the key, and returns whether there was one.
	Delete(ctx context.Context, key string) (found bool, err error)
	// Throttle takes cost from the amount that limit allows at key, if enough is left. Cost 0 takes nothing and only reports.
	Throttle(ctx context.Context, key string, limit Limit, cost int64) (Throttled, error)
	// Reserve adds a reservation of amount to the budget at key, unless what is spent and reserved there would pass
	// budget.AtMost. A reservation counts until Settle, and at most for budget.Hold and an eighth of it, so that a policy that
	// ends without Settle blocks its amount no longer. name is the reservation's, and unique at the key: a second call with the
	// same name is allowed and adds nothing, so that a call without an answer can be repeated. Amount 0 reserves nothing and
	// only reports. The key expires budget.TTL after the first reservation.
	Reserve(ctx context.Context, key, name string, amount int64, budget Budget) (Reserved, error)
	// Settle removes a reservation, and adds amount to what is spent, even if the reservation no longer counts. It returns false,
	// and changes nothing, if there is no such reservation: it was settled before, or the store has lost it.
	Settle(ctx context.Context, key, name string, amount int64) (settled bool, err error)
	// Shared returns the policy's store for all APIs that attach it.
	Shared() Store
	// Kept returns a store with keys of its own whose entries are not evicted before they expire: a write for which there is no
	// room wraps ErrStoreFull. It is for entries whose loss would let a request pass, and of which a stranger cannot create
	// many. In memory they take at most three quarters of the store's limit. In a Valkey its maxmemory-policy has to be
	// noeviction.
	Kept() Store
}

// The bounds of a Store's input.
const (
	MaxStoreKey   = 1 << 10              // bytes
	MaxStoreValue = 1 << 20              // bytes
	MaxStoreTTL   = 366 * 24 * time.Hour // also for the memory of a throttled key
	MaxStoreName  = 64                   // bytes of a reservation's name
	MaxAmount     = 1<<53 - 1            // of a reservation, a settlement and a budget: a Valkey's scripts count in doubles
	maxRate       = 1_000_000            // of a Limit, per second
	maxBurst      = 1_000_000_000        // of a Limit
)

var (
	// ErrStoreInput is wrapped by errors about keys, values, times and limits: the policy is at fault, not the store.
	ErrStoreInput = errors.New("store")
	// ErrStoreFull is wrapped, beside a *Failure of ClassUnavailable, if there is no room for an entry.
	ErrStoreFull = errors.New("the store is full")
)

// Limit allows Rate requests in each Per, evenly: after Burst requests at once, the next one is allowed Per/Rate later (GCRA, as
// defined in ITU-T I.371).
type Limit struct {
	Rate  int64
	Per   time.Duration
	Burst int64 // 0: as Rate
}

// Throttled is the answer of Throttle.
type Throttled struct {
	Allowed    bool
	Remaining  int64         // the amount allowed right now
	RetryAfter time.Duration // until the same cost is allowed; 0 if it was
	ResetAfter time.Duration // until the whole Burst is available again
}

// Budget is what Reserve may reserve at a key.
type Budget struct {
	AtMost int64         // of what is spent and reserved together
	Hold   time.Duration // how long a reservation counts unless it is settled; at most TTL
	TTL    time.Duration // how long the key lives, from its first reservation on
}

// Reserved is the answer of Reserve.
type Reserved struct {
	Allowed  bool
	Spent    int64 // by settled reservations
	Reserved int64 // by those that count now, with this one if it is allowed
}

// Check returns an error that wraps ErrStoreInput if the budget or the amount is invalid.
func (b Budget) Check(amount int64) error {
	switch {
	case amount < 0 || amount > MaxAmount:
		return fmt.Errorf("%w: amount: expected 0 to %d, got %d", ErrStoreInput, int64(MaxAmount), amount)
	case b.AtMost < 0 || b.AtMost > MaxAmount:
		return fmt.Errorf("%w: budget: expected an amount of 0 to %d, got %d", ErrStoreInput, int64(MaxAmount), b.AtMost)
	case b.TTL < time.Millisecond || b.TTL > MaxStoreTTL:
		return fmt.Errorf("%w: ttl: expected 1 ms to %s, got %s", ErrStoreInput, MaxStoreTTL, b.TTL)
	case b.Hold < time.Millisecond || b.Hold > b.TTL:
		return fmt.Errorf("%w: hold: expected 1 ms to the budget's ttl, %s, got %s", ErrStoreInput, b.TTL, b.Hold)
	}
	return nil
}

// Check returns an error that wraps ErrStoreInput if the limit or the cost is invalid.
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

// interval returns the time between two allowed requests, in microseconds.
func (l Limit) interval() float64 { return float64(l.Per.Microseconds()) / float64(l.Rate) }

// Decide is GCRA: the decision of Throttle by the state of a key. The state is one time, tat: when the whole burst is available
// again. Times are microseconds since any moment; a time in the past, such as 0, is the state of an unused key. Decide returns the
// new state, which is the old one if nothing is taken.
//
// A tat further away than an exhausted limit's counts as that, so that neither a clock that was set back nor a changed
// limit locks clients out. The engine's script for Valkey and the Python SDK have the same arithmetic;
// conformance/store.json compares the three.
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

// tolerance is the allowed rounding error, in microseconds or in requests.
const tolerance = 1e-3

func micros(count float64) time.Duration {
	return time.Duration(math.Ceil(count-tolerance)) * time.Microsecond
}
