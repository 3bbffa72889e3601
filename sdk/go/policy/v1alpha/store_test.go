package v1alpha_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// TestNeverMoreThanTheLimit: in any time no more is allowed than the burst and the amount that becomes available, for any costs and
// pauses; and a client that waits for RetryAfter is admitted.
func TestNeverMoreThanTheLimit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	for range 200 {
		limit := v1alpha.Limit{Rate: 1 + random.Int64N(1000), Per: time.Duration(1+random.IntN(100_000)) * time.Millisecond, Burst: 1 + random.Int64N(50)}
		interval := float64(limit.Per.Microseconds()) / float64(limit.Rate)
		if limit.Check(1) != nil {
			continue
		}
		tat, now, allowed := 0.0, 0.0, int64(0)
		for range 500 {
			cost := random.Int64N(min(limit.Burst, 3) + 1)
			next, answer := limit.Decide(tat, now, cost)
			if answer.Allowed {
				allowed += cost
			} else if _, again := limit.Decide(tat, now+float64(answer.RetryAfter.Microseconds()), cost); !again.Allowed {
				t.Fatalf("%+v: expected %d to be allowed after %s", limit, cost, answer.RetryAfter)
			}
			tat = next
			if most := float64(limit.Burst) + now/interval; float64(allowed) > most+1e-3 {
				t.Fatalf("%+v: expected at most %.3f until %.0f µs, got %d", limit, most, now, allowed)
			}
			if answer.Remaining < 0 || answer.Remaining > limit.Burst {
				t.Fatalf("%+v: expected 0 to %d to remain, got %d", limit, limit.Burst, answer.Remaining)
			}
			now += math.Floor(random.Float64() * 2 * interval)
		}
	}
}

func TestAClockThatGoesBackLocksNobodyOut(t *testing.T) {
	limit := v1alpha.Limit{Rate: 10, Per: time.Second}
	tat, _ := limit.Decide(0, 1e12, 10)
	tat, answer := limit.Decide(tat, 0, 1) // eleven days before
	if answer.Allowed || answer.RetryAfter != 100*time.Millisecond {
		t.Errorf("expected to be refused as one whose burst is used up, for 100 ms, got %+v", answer)
	}
	if _, answer = limit.Decide(tat, 100_000, 1); !answer.Allowed {
		t.Errorf("expected to be let in after that, got %+v", answer)
	}
}

func TestInvalidLimits(t *testing.T) {
	for _, test := range []struct {
		limit v1alpha.Limit
		cost  int64
	}{
		{v1alpha.Limit{Rate: -1, Per: time.Second}, 1},
		{v1alpha.Limit{Rate: 1, Per: -time.Second}, 1},
		{v1alpha.Limit{Rate: 1, Per: time.Second, Burst: -1}, 0},
		{v1alpha.Limit{Rate: math.MaxInt64, Per: time.Second}, 1},
		{v1alpha.Limit{Rate: 1, Per: 366 * 24 * time.Hour, Burst: 2}, 1},
		{v1alpha.Limit{Rate: 1, Per: time.Second}, -1},
		{v1alpha.Limit{Rate: 1, Per: time.Second}, math.MaxInt64},
	} {
		if err := test.limit.Check(test.cost); !errors.Is(err, v1alpha.ErrStoreInput) {
			t.Errorf("%+v at %d: expected an error about the input, got %v", test.limit, test.cost, err)
		}
	}
}
