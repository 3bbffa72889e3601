package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/backoff"
)

func TestWaitsDoubleUpToTheLongest(t *testing.T) {
	for name, c := range map[string]struct {
		backoff.Doubling
		want []time.Duration
	}{
		"up to the longest":        {backoff.Doubling{First: 100, Longest: 800}, []time.Duration{100, 200, 400, 800, 800}},
		"that no doubling reaches": {backoff.Doubling{First: 500, Longest: 1100}, []time.Duration{500, 1000, 1100, 1100}},
		"always the same":          {backoff.Doubling{First: 30, Longest: 30}, []time.Duration{30, 30, 30}},
		"never below the first":    {backoff.Doubling{First: 30, Longest: 20}, []time.Duration{30, 30, 30}},
		"no wait":                  {backoff.Doubling{Longest: 20}, []time.Duration{0, 0, 0}},
	} {
		for failures, want := range c.want {
			if got := c.Wait(failures); got != want {
				t.Errorf("%s: expected %d after %d failures, got %d", name, want, failures, got)
			}
		}
		if got, want := c.Wait(1_000_000), c.want[len(c.want)-1]; got != want {
			t.Errorf("%s: expected %d after a million failures, got %d", name, want, got)
		}
	}
}

func TestJitterStaysWithinItsShares(t *testing.T) {
	for _, c := range []struct {
		backoff.Doubling
		shortest, longest time.Duration // of the wait of 400
	}{
		{backoff.Doubling{First: 100, Longest: 800, More: 0.25}, 400, 500},
		{backoff.Doubling{First: 100, Longest: 800, Less: 0.5}, 200, 400},
		{backoff.Doubling{First: 100, Longest: 800, Less: 0.5, More: 0.5}, 200, 600},
	} {
		least, most := c.Wait(2), time.Duration(0)
		for range 20_000 {
			got := c.Wait(2)
			least, most = min(least, got), max(most, got)
		}
		if least < c.shortest || most > c.longest || most-least < (c.longest-c.shortest)*9/10 {
			t.Errorf("%+v: expected all from %d to %d, got %d to %d", c.Doubling, c.shortest, c.longest, least, most)
		}
	}
}

func TestASleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if !backoff.Sleep(ctx, 999*time.Millisecond) || backoff.Sleep(ctx, time.Hour) || time.Since(begin) != time.Second {
			t.Errorf("expected a whole sleep, and one that is cut off after a second, got %s", time.Since(begin))
		}
	})
}
