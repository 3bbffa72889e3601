// Package store is the state that policies share: in the engine's memory, or in a Valkey that all nodes use. The Gateway
// chooses the place (spec.store), also at runtime.
//
// A Store checks bounds, counts calls and chooses the place, `memory` or `remote`. Keys are
// prefixed by policy and API, so that no policy reads another's.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// DefaultMaxBytes is the default limit of the store in the engine's memory.
const DefaultMaxBytes = 64 << 20

// place is where entries are. Its arguments are within the bounds; errors that do not concern the input are failures of
// class unavailable.
type place interface {
	get(ctx context.Context, space, key string) ([]byte, bool, error)
	set(ctx context.Context, space, key string, value []byte, ttl time.Duration, ifAbsent bool) (bool, error)
	increment(ctx context.Context, space, key string, by int64, ttl time.Duration) (int64, error)
	expire(ctx context.Context, space, key string, ttl time.Duration) (bool, error)
	delete(ctx context.Context, space, key string) (bool, error)
	throttle(ctx context.Context, space, key string, limit v1alpha.Limit, cost int64) (v1alpha.Throttled, error)
	reserve(ctx context.Context, space, key, name string, amount int64, budget v1alpha.Budget) (v1alpha.Reserved, error)
	settle(ctx context.Context, space, key, name string, amount int64) (bool, error)
}

// Store is the store of one engine.
type Store struct {
	log    *slog.Logger
	memory *memory
	meter  *meter
	remote atomic.Pointer[remote] // nil: entries are in memory

	mu      sync.Mutex // one Apply at a time
	settled *nodev1.ValkeyStore
}

// New makes a store in memory.
func New(log *slog.Logger) *Store {
	s := &Store{log: log, memory: newMemory(DefaultMaxBytes, monotonic())}
	s.meter = newMeter(s)
	return s
}

// Apply applies the settings of a Gateway; nil if it has none. It does not wait for a Valkey. Entries are not
// moved: another place begins empty, or with the entries it has.
func (s *Store) Apply(settings *nodev1.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := int64(settings.GetMaxBytes())
	if limit == 0 {
		limit = DefaultMaxBytes
	}
	s.memory.resize(limit)
	if same(s.settled, settings.GetValkey()) {
		return
	}
	s.settled = settings.GetValkey()
	var next *remote
	if s.settled != nil {
		next = newRemote(s.settled, s.log)
	}
	if previous := s.remote.Swap(next); previous != nil {
		go previous.close() // in the background, since it may be connecting
	}
}

// Close closes the connection to a Valkey, and the store.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if previous := s.remote.Swap(nil); previous != nil {
		previous.close()
	}
	s.memory.close()
}

// Standing returns why the store does not answer now, or nil.
func (s *Store) Standing() error {
	if remote := s.remote.Load(); remote != nil {
		return remote.standing()
	}
	return nil
}

// Stats are the state of the store.
type Stats struct {
	Valkey string `json:"valkey"` // HOST:PORT; "": entries are in the engine's memory
	Away   string `json:"away"`   // why the Valkey does not answer; "": it does
}

// Stats returns the present state of the store.
func (s *Store) Stats() (stats Stats) {
	if remote := s.remote.Load(); remote != nil {
		stats.Valkey = remote.settings.GetAddress()
		if why := remote.away.Load(); why != nil {
			stats.Away = *why
		}
	}
	return stats
}

// Of returns the store of a policy at an API.
func (s *Store) Of(policy, api string) v1alpha.Store {
	return &view{store: s, policy: policy, space: space(policy, api)}
}

func (s *Store) place() place {
	if remote := s.remote.Load(); remote != nil {
		return remote
	}
	return s.memory
}

// allAPIs replaces the API in a policy's space for all APIs. No API has this name.
const allAPIs = "*"

// space returns the prefix of a policy's keys at an API. Neither name contains a colon.
func space(policy, api string) string { return policy + ":" + api + ":" }

// keptMark ends the name of a space whose entries are not evicted; all other names end with a colon.
const keptMark = "!"

func isKept(space string) bool { return strings.HasSuffix(space, keptMark) }

// view is a policy's access to the store.
type view struct {
	store         *Store
	policy, space string
}

func (v *view) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	defer v.store.meter.call(opGet, &err)()
	if err := checkKey(key); err != nil {
		return nil, false, err
	}
	return v.store.place().get(ctx, v.space, key)
}

func (v *view) Set(ctx context.Context, key string, value []byte, ttl time.Duration, ifAbsent bool) (written bool, err error) {
	defer v.store.meter.call(opSet, &err)()
	if err := errors.Join(checkKey(key), checkTTL(ttl), checkValue(value)); err != nil {
		return false, err
	}
	return v.store.place().set(ctx, v.space, key, value, ttl, ifAbsent)
}

func (v *view) Increment(ctx context.Context, key string, by int64, ttl time.Duration) (sum int64, err error) {
	defer v.store.meter.call(opIncrement, &err)()
	if err := errors.Join(checkKey(key), checkTTL(ttl)); err != nil {
		return 0, err
	}
	return v.store.place().increment(ctx, v.space, key, by, ttl)
}

func (v *view) Expire(ctx context.Context, key string, ttl time.Duration) (found bool, err error) {
	defer v.store.meter.call(opExpire, &err)()
	if err := errors.Join(checkKey(key), checkTTL(ttl)); err != nil {
		return false, err
	}
	return v.store.place().expire(ctx, v.space, key, ttl)
}

func (v *view) Delete(ctx context.Context, key string) (found bool, err error) {
	defer v.store.meter.call(opDelete, &err)()
	if err := checkKey(key); err != nil {
		return false, err
	}
	return v.store.place().delete(ctx, v.space, key)
}

func (v *view) Throttle(ctx context.Context, key string, limit v1alpha.Limit, cost int64) (answer v1alpha.Throttled, err error) {
	defer v.store.meter.call(opThrottle, &err)()
	if err := errors.Join(checkKey(key), limit.Check(cost)); err != nil {
		return answer, err
	}
	return v.store.place().throttle(ctx, v.space, key, limit, cost)
}

func (v *view) Reserve(ctx context.Context, key, name string, amount int64, budget v1alpha.Budget) (answer v1alpha.Reserved, err error) {
	defer v.store.meter.call(opReserve, &err)()
	if err := errors.Join(checkKey(key), checkName(name), budget.Check(amount)); err != nil {
		return answer, err
	}
	return v.store.place().reserve(ctx, v.space, key, name, amount, budget)
}

func (v *view) Settle(ctx context.Context, key, name string, amount int64) (settled bool, err error) {
	defer v.store.meter.call(opSettle, &err)()
	if err := errors.Join(checkKey(key), checkName(name), checkSettled(amount)); err != nil {
		return false, err
	}
	return v.store.place().settle(ctx, v.space, key, name, amount)
}

func (v *view) Shared() v1alpha.Store {
	return v.at(space(v.policy, allAPIs), isKept(v.space))
}

func (v *view) Kept() v1alpha.Store {
	return v.at(strings.TrimSuffix(v.space, keptMark), true)
}

func (v *view) at(space string, kept bool) *view {
	if kept {
		space += keptMark
	}
	return &view{store: v.store, policy: v.policy, space: space}
}

func checkKey(key string) error {
	if key == "" || len(key) > v1alpha.MaxStoreKey {
		return fmt.Errorf("%w: key: expected 1 to %d bytes, got %d", v1alpha.ErrStoreInput, v1alpha.MaxStoreKey, len(key))
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > v1alpha.MaxStoreName {
		return fmt.Errorf("%w: name: expected 1 to %d bytes, got %d", v1alpha.ErrStoreInput, v1alpha.MaxStoreName, len(name))
	}
	return nil
}

func checkSettled(amount int64) error {
	if amount < 0 || amount > v1alpha.MaxAmount {
		return fmt.Errorf("%w: amount: expected 0 to %d, got %d", v1alpha.ErrStoreInput, int64(v1alpha.MaxAmount), amount)
	}
	return nil
}

func checkValue(value []byte) error {
	if len(value) > v1alpha.MaxStoreValue {
		return fmt.Errorf("%w: value: expected at most %d bytes, got %d", v1alpha.ErrStoreInput, v1alpha.MaxStoreValue, len(value))
	}
	return nil
}

func checkTTL(ttl time.Duration) error {
	if ttl < time.Millisecond || ttl > v1alpha.MaxStoreTTL {
		return fmt.Errorf("%w: ttl: expected 1 ms to %s, got %s", v1alpha.ErrStoreInput, v1alpha.MaxStoreTTL, ttl)
	}
	return nil
}

// full returns a failure of class unavailable for lack of room.
func full(format string, args ...any) error {
	return fmt.Errorf("%w: %w", v1alpha.ErrStoreFull, v1alpha.Failf(v1alpha.ClassUnavailable, format, args...))
}

func notANumber(key string) error {
	return fmt.Errorf("%w: increment: expected a whole number at key %.40q, and a sum that fits 64 bits", v1alpha.ErrStoreInput, key)
}

func tooMuchSpent(key string) error {
	return fmt.Errorf("%w: settle: expected a sum that fits 64 bits at key %.40q", v1alpha.ErrStoreInput, key)
}
