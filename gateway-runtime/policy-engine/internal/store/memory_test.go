package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type movedClock struct{ now atomic.Int64 }

func (c *movedClock) advance(by time.Duration) { c.now.Add(int64(by)) }

// storeInMemory is a store whose time moves by hand.
func storeInMemory(t testing.TB, limit int64) (*Store, *movedClock) {
	t.Helper()
	clock := &movedClock{}
	s := &Store{log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s.memory = newMemory(limit, func() time.Duration { return time.Duration(clock.now.Load()) })
	s.meter = newMeter(s)
	t.Cleanup(s.Close)
	return s, clock
}

func fill(t *testing.T, store v1alpha.Store, prefix string, count int) {
	t.Helper()
	for i := range count {
		if _, err := store.Set(t.Context(), fmt.Sprint(prefix, i), make([]byte, 100), time.Hour, false); err != nil {
			t.Fatal(err)
		}
	}
}

func has(t *testing.T, store v1alpha.Store, key string) bool {
	t.Helper()
	_, found, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAFloodCostsItsOwnAPIEntriesFirst(t *testing.T) {
	s, _ := storeInMemory(t, 100_000)
	quiet, flood := s.Of("p", "quiet"), s.Of("p", "flood")
	fill(t, quiet, "k", 50)
	fill(t, flood, "k", 5000)
	if held := s.memory.held.Load(); held > 100_000 || held < 90_000 {
		t.Errorf("expected nearly 100000 bytes held, got %d", held)
	}
	for i := range 50 {
		if !has(t, quiet, fmt.Sprint("k", i)) {
			t.Errorf("expected k%d of the quiet API to stay", i)
		}
	}
	if has(t, flood, "k0") || !has(t, flood, "k4999") {
		t.Error("expected the flood to lose its oldest entries, and to have its newest")
	}
	if s.memory.evicted.Load() == 0 {
		t.Error("expected evictions to be counted")
	}
}

func TestEntriesOfAKeptStoreAreNotEvicted(t *testing.T) {
	s, clock := storeInMemory(t, 100_000)
	kept := s.Of("p", "a").Kept()
	fill(t, kept, "k", 150) // more than any of the others comes to hold
	fill(t, s.Of("p", "a"), "k", 5000)
	fill(t, s.Of("q", "b").Shared(), "k", 5000)
	for i := range 150 {
		if !has(t, kept, fmt.Sprint("k", i)) {
			t.Fatalf("expected k%d of the kept store to stay", i)
		}
	}
	if held := s.memory.held.Load(); held > 100_000 || held < 90_000 {
		t.Errorf("expected nearly 100000 bytes held, got %d", held)
	}
	clock.advance(time.Hour)
	if has(t, kept, "k0") {
		t.Error("expected an entry to end when its time is over")
	}
}

func TestAKeptStoreThatIsFullRefusesAndForgetsNothing(t *testing.T) {
	s, clock := storeInMemory(t, 100_000)
	kept, other := s.Of("p", "a").Kept(), s.Of("q", "b")
	writes := map[string]func(key string) error{
		"set": func(key string) error {
			_, err := kept.Set(t.Context(), key, nil, time.Minute, true)
			return err
		},
		"increment": func(key string) error {
			_, err := kept.Increment(t.Context(), key, 1, time.Minute)
			return err
		},
		"throttle": func(key string) error {
			_, err := kept.Throttle(t.Context(), key, v1alpha.Limit{Rate: 1, Per: time.Minute}, 1)
			return err
		},
	}
	count := 0
	for ; ; count++ {
		_, err := kept.Set(t.Context(), fmt.Sprint("k", count), nil, time.Minute, true)
		if errors.Is(err, v1alpha.ErrStoreFull) {
			break
		}
		if err != nil || count > 1000 {
			t.Fatalf("expected the store to be full, got %v after %d entries", err, count)
		}
	}
	if held := s.memory.held.Load(); held > 75_000 || held < 70_000 {
		t.Errorf("expected nearly 75000 bytes of kept entries, got %d", held)
	}
	for name, write := range writes {
		var failure *v1alpha.Failure
		err := write("new " + name)
		if !errors.Is(err, v1alpha.ErrStoreFull) || !errors.As(err, &failure) || failure.Class != v1alpha.ClassUnavailable {
			t.Errorf("%s: expected ErrStoreFull of class unavailable, got %v", name, err)
		}
	}
	if written, err := kept.Set(t.Context(), "k0", nil, time.Minute, true); written || err != nil {
		t.Errorf("expected k0 to be there, got %v, %v", written, err)
	}
	fill(t, other, "k", 10)
	if !has(t, other, "k9") {
		t.Error("expected room for the entries of others")
	}
	for i := range count {
		if !has(t, kept, fmt.Sprint("k", i)) {
			t.Fatalf("expected k%d to stay", i)
		}
	}
	clock.advance(61 * time.Second)
	if err := writes["set"]("new"); err != nil {
		t.Errorf("expected room once entries have ended, got %v", err)
	}
}

func TestAKeptStoreHasKeysOfItsOwn(t *testing.T) {
	s, _ := storeInMemory(t, 1<<20)
	mine := s.Of("p", "a")
	fill(t, mine.Kept(), "mine", 1)
	fill(t, mine.Shared().Kept(), "shared", 1)
	if !has(t, mine.Kept().Kept(), "mine0") || has(t, mine, "mine0") || has(t, s.Of("p", "b").Kept(), "mine0") || has(t, s.Of("q", "a").Kept(), "mine0") {
		t.Error("expected the key in the kept store of the policy at the API alone")
	}
	if !has(t, mine.Kept().Shared(), "shared0") || has(t, mine.Shared(), "shared0") || has(t, mine.Kept(), "shared0") {
		t.Error("expected the key in the kept store that the policy's APIs share")
	}
}

func TestTheLeastRecentlyUsedEntryIsEvictedFirst(t *testing.T) {
	s, _ := storeInMemory(t, 20_000)
	view := s.Of("p", "a")
	fill(t, view, "k", 10)
	for i := range 500 {
		has(t, view, "k3")
		fill(t, view, fmt.Sprint("other", i), 1)
	}
	if !has(t, view, "k3") || has(t, view, "k4") {
		t.Error("expected k3 to stay, since it was used, and k4 to go")
	}
}

func TestExpiredEntriesTakeNoRoom(t *testing.T) {
	s, clock := storeInMemory(t, 1<<20)
	view := s.Of("p", "a")
	fill(t, view, "k", 100)
	for i := range 100 {
		_, err := view.Throttle(t.Context(), fmt.Sprint("k", i), v1alpha.Limit{Rate: 1, Per: time.Minute}, 1)
		if err != nil {
			t.Fatal(err)
		}
	}
	clock.advance(62 * time.Second)
	s.memory.sweep()
	if entries := s.memory.entries.Load(); entries != 100 {
		t.Errorf("expected 100 entries left of 200, got %d", entries)
	}
	clock.advance(time.Hour)
	s.memory.sweep()
	if held, spaces := s.memory.held.Load(), len(s.memory.spaces); held != 0 || spaces != 0 {
		t.Errorf("expected nothing left, got %d bytes in %d spaces", held, spaces)
	}
	fill(t, view, "k", 1)
	if !has(t, view, "k0") {
		t.Error("expected a space that was removed to come back")
	}
}

// TestTheBytesAreThoseOfTheEntries: after any operations, the count of bytes and entries is right, and lists of keys
// stay short although entries come and go.
func TestTheBytesAreThoseOfTheEntries(t *testing.T) {
	property.Check(t, func(rt *rapid.T) {
		s, clock := storeInMemory(t, 1<<14)
		view := s.Of("p", "a")
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			key := fmt.Sprint(rapid.IntRange(0, 20).Draw(rt, "key"))
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				_, _ = view.Set(t.Context(), key, make([]byte, rapid.IntRange(0, 3000).Draw(rt, "size")), 100*time.Second, false)
			case 1:
				_, _ = view.Delete(t.Context(), key)
			case 2:
				_, _ = view.Throttle(t.Context(), key, v1alpha.Limit{Rate: 1, Per: 10 * time.Second}, 1)
			case 3:
				clock.advance(time.Duration(rapid.IntRange(0, 5000).Draw(rt, "ms")) * time.Millisecond)
			case 4:
				budget := v1alpha.Budget{AtMost: 100, Hold: 10 * time.Second, TTL: 50 * time.Second}
				_, _ = view.Reserve(t.Context(), "budget", key, rapid.Int64Range(0, 40).Draw(rt, "amount"), budget)
			case 5:
				_, _ = view.Settle(t.Context(), "budget", key, 1)
			default:
				s.memory.sweep()
			}
		}
		var bytes, entries, looks int64
		for _, space := range s.memory.spaces {
			for _, key := range space.entries.Keys() {
				e, _ := space.entries.Peek(key)
				bytes += entryBytes(key, e.value)
				entries++
			}
			for _, keys := range space.looks {
				looks += int64(len(keys))
			}
		}
		if held := s.memory.held.Load(); held != bytes || held > 1<<14 || s.memory.entries.Load() != entries {
			rt.Fatalf("expected %d bytes of %d entries, counted %d of %d", bytes, entries, held, s.memory.entries.Load())
		}
		if looks > 200 {
			rt.Fatalf("expected at most a list entry for each step, got %d", looks)
		}
	})
}

func TestOnePolicyDoesNotSeeAnothersKeys(t *testing.T) {
	s, _ := storeInMemory(t, 1<<20)
	mine := s.Of("p", "a")
	fill(t, mine, "k", 1)
	fill(t, mine.Shared(), "shared", 1)
	for name, other := range map[string]v1alpha.Store{"another API": s.Of("p", "b"), "another policy": s.Of("q", "a"), "what is shared": mine.Shared()} {
		if has(t, other, "k0") {
			t.Errorf("expected %s not to see the key", name)
		}
	}
	if !has(t, s.Of("p", "b").Shared(), "shared0") || has(t, s.Of("q", "b").Shared(), "shared0") || has(t, mine, "shared0") {
		t.Error("expected shared entries to be seen by the policy at any API, and by no other policy")
	}
}

func TestAValueThatCanNeverFitIsRefused(t *testing.T) {
	s, _ := storeInMemory(t, 1000)
	_, err := s.Of("p", "a").Set(t.Context(), "k", make([]byte, 1000), time.Hour, false)
	failure := v1alpha.AsFailure(err)
	if !errors.Is(err, v1alpha.ErrStoreFull) || failure.Class != v1alpha.ClassUnavailable {
		t.Errorf("expected that the store is full, class unavailable, got %v", err)
	}
	if _, err := s.Of("p", "a").Set(t.Context(), "k", make([]byte, v1alpha.MaxStoreValue+1), time.Hour, false); !errors.Is(err, v1alpha.ErrStoreInput) {
		t.Errorf("expected an error about the input, got %v", err)
	}
}

func TestALimitHoldsForManyAtOnce(t *testing.T) {
	s, _ := storeInMemory(t, 1<<20)
	view := s.Of("p", "a")
	var allowed, sum atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				answer, err := view.Throttle(t.Context(), "k", v1alpha.Limit{Rate: 700, Per: time.Hour}, 1)
				if err == nil && answer.Allowed {
					allowed.Add(1)
				}
				if last, err := view.Increment(t.Context(), "n", 1, time.Hour); err == nil {
					sum.Store(max(sum.Load(), last))
				}
			}
		})
	}
	all.Wait()
	if allowed.Load() != 700 || sum.Load() != 4000 {
		t.Errorf("expected 700 allowed and 4000 counted, got %d and %d", allowed.Load(), sum.Load())
	}
}

func TestABudgetHoldsForManyAtOnce(t *testing.T) {
	s, _ := storeInMemory(t, 1<<20)
	reservesFromManyAtOnce(t, s.Of("p", "a"))
}

// reservesFromManyAtOnce holds 250 reservations of 4 against a budget of 999, and settles each with 3 in place of 4 as soon as
// it has it: at no time is more than 999 spent and reserved, and as many fit as must.
func reservesFromManyAtOnce(t *testing.T, views ...v1alpha.Store) {
	t.Helper()
	budget := v1alpha.Budget{AtMost: 999, Hold: time.Hour, TTL: time.Hour}
	var settled atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		view := views[worker%len(views)]
		all.Go(func() {
			for i := range 100 {
				name := fmt.Sprint(worker, "-", i)
				answer, err := view.Reserve(t.Context(), "k", name, 4, budget)
				if err != nil || answer.Spent+answer.Reserved > budget.AtMost {
					t.Errorf("expected at most the budget, got %v, %v", answer, err)
				}
				if !answer.Allowed {
					continue
				}
				if yes, err := view.Settle(t.Context(), "k", name, 3); err != nil || !yes {
					t.Errorf("expected the reservation to be settled, got %v, %v", yes, err)
				}
				settled.Add(3)
			}
		})
	}
	all.Wait()
	end, err := views[0].Reserve(t.Context(), "k", "last", 4, budget)
	if err != nil || end.Allowed || end.Reserved != 0 || end.Spent != settled.Load() || end.Spent != 996 {
		t.Errorf("expected 996 spent by settlements of %d, and no room for 4, got %v, %v", settled.Load(), end, err)
	}
}

func TestAKeptBudgetIsRefusedWhereItDoesNotFit(t *testing.T) {
	s, _ := storeInMemory(t, 4000)
	kept := s.Of("p", "a").Kept()
	budget := v1alpha.Budget{AtMost: 1000, Hold: time.Hour, TTL: time.Hour}
	names := 0
	var err error
	for ; err == nil && names < 100; names++ {
		_, err = kept.Reserve(t.Context(), "k", fmt.Sprint(names), 1, budget)
	}
	if !errors.Is(err, v1alpha.ErrStoreFull) || names < 3 {
		t.Fatalf("expected the store to be full after some reservations, got %v after %d", err, names)
	}
	fill(t, s.Of("p", "a"), "flood", 100)
	for i := range names - 1 {
		if settled, err := kept.Settle(t.Context(), "k", fmt.Sprint(i), 2); err != nil || !settled {
			t.Errorf("expected a settlement to need no room, got %v, %v", settled, err)
		}
	}
	answer, err := kept.Reserve(t.Context(), "k", "next", 1, budget)
	if want := (v1alpha.Reserved{Allowed: true, Spent: int64(2 * (names - 1)), Reserved: 1}); answer != want || err != nil {
		t.Errorf("expected %v, got %v, %v", want, answer, err)
	}
}

// TestTheLimitBoundsMemory: entries take no more memory than is counted for them.
func TestTheLimitBoundsMemory(t *testing.T) {
	s, _ := storeInMemory(t, 1<<30)
	view := s.Of("p", "a")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 50_000 {
		if _, err := view.Throttle(t.Context(), fmt.Sprintf("client-%016d", i), v1alpha.Limit{Rate: 1, Per: time.Hour}, 1); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	taken, counted := int64(after.HeapAlloc)-int64(before.HeapAlloc), s.memory.held.Load()
	if taken > counted*5/4 {
		t.Errorf("expected at most what is counted, %d bytes and a quarter, got %d", counted, taken)
	}
	runtime.KeepAlive(s)
}

func BenchmarkThrottle(b *testing.B) {
	s := New(slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer s.Close()
	view := s.Of("p", "a")
	for i := range b.N {
		_, _ = view.Throttle(b.Context(), "client", v1alpha.Limit{Rate: 1000, Per: time.Second}, int64(i&1))
	}
}

func TestEvictedKeysTakeNoMemory(t *testing.T) {
	const limit = 2 << 20
	s, _ := storeInMemory(t, limit) // its clock stands still: nothing is swept
	view := s.Of("p", "a")
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	long := strings.Repeat("k", 500)
	before := heap()
	for i := range 20_000 {
		if _, err := view.Set(t.Context(), fmt.Sprint(long, i), nil, time.Hour, false); err != nil {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > 3*limit {
		t.Errorf("expected about %d bytes to be held after a flood of keys, got %d", limit, grown)
	}
	runtime.KeepAlive(s)
}
