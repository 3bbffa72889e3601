// Package backoff computes the wait before a failed operation is retried.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Doubling is a wait that doubles with each failure in a row, from First up to Longest, and is never below First. Less and
// More are its jitter: a wait is shorter or longer by at most these shares of itself.
type Doubling struct {
	First, Longest time.Duration
	Less, More     float64
}

// Wait returns the wait after a failure, by the number of failures in a row before it: 0 after the first failure since a
// success.
func (d Doubling) Wait(failures int) time.Duration {
	wait := d.First
	for longest := max(d.First, d.Longest); failures > 0 && wait < longest; failures-- {
		wait = min(2*wait, longest)
	}
	return d.Jitter(wait)
}

// Jitter returns a wait with the jitter of d.
func (d Doubling) Jitter(wait time.Duration) time.Duration {
	shortest := wait - time.Duration(d.Less*float64(wait))
	longest := wait + time.Duration(d.More*float64(wait))
	return shortest + rand.N(longest-shortest+1)
}

// Sleep waits, and returns false if ctx is done before.
func Sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
