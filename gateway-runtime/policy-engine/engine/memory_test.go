package engine

import (
	"runtime"
	"testing"

	"gatewright.dev/policy-engine/internal/await"
)

func TestGarbageIsFewWhereStateAndBodiesAreMany(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ state, held, most int64 }{
		{0, 0, 64 * mib}, {0, 32 * mib, 68 * mib}, {0, 128 * mib, 80 * mib}, {0, 1 << 30, 192 * mib},
		{116 * mib, 0, 77 * mib}, {336 * mib, 0, 104 * mib}, {336 * mib, 128 * mib, 120 * mib},
	} {
		garbage := int64(garbagePercent(c.state, c.held)) * (max(c.state, usualState) + c.held) / 100
		if garbage > c.most || garbage < c.most*9/10 {
			t.Errorf("%d bytes of state and %d held: expected about %d bytes of garbage, got %d", c.state, c.held, c.most, garbage)
		}
	}
	if got := garbagePercent(0, 0); got != usualPercent {
		t.Errorf("expected %d %% with nothing held, got %d", usualPercent, got)
	}
}

func TestGarbageCollectionsAreNoticed(t *testing.T) {
	collections := watchCollections(t.Context())
	for range 3 {
		await.Until(t, "word of a garbage collection", func() bool {
			runtime.GC()
			select {
			case <-collections:
				return true
			default:
				return false
			}
		})
	}
	for _, name := range []string{"/gc/heap/live:bytes", "/memory/classes/heap/free:bytes"} {
		if got := readBytes(name); got <= 0 {
			t.Errorf("%s: got %d", name, got)
		}
	}
}
