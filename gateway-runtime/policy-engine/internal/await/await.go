// Package await lets tests wait on a condition or a message, and not on time.
package await

import (
	"time"
)

// Limit ends a test that waits in vain. It is no measure of how long anything may take: a busy machine must not reach it.
const Limit = 2 * time.Minute

const interval = 2 * time.Millisecond

// T is the part of testing.T that is needed here. Tests, benchmarks and rapid's properties have it.
type T interface {
	Helper()
	Fatalf(format string, arguments ...any)
}

// Until calls holds again and again until it returns true. condition describes it in the failure.
func Until(t T, condition string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Limit); !holds(); time.Sleep(interval) {
		if time.Now().After(deadline) {
			t.Fatalf("expected within %s: %s", Limit, condition)
		}
	}
}

// Receive returns the next value of a channel, or its zero value if the channel is closed. name describes it in the failure.
func Receive[V any](t T, from <-chan V, name string) (value V) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(Limit):
		t.Fatalf("expected within %s: %s", Limit, name)
	}
	return value
}
