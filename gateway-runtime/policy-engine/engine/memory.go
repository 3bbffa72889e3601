package engine

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// The settings of the garbage collector. Exchanges leave much garbage and little state, so there may be four times as
// much garbage as state; but only a quarter of the state of many APIs, and an eighth of the held bodies.
const (
	usualPercent  = 400
	usualGarbage  = 64 << 20
	usualState    = usualGarbage * 100 / usualPercent
	stateShare    = 4                    // garbage may grow by further state / stateShare
	heldShare     = 8                    // garbage may grow by held bodies / heldShare
	burst         = 2 * chain.BudgetStep // bytes of bodies after which memory is returned to the system
	burstTimeout  = 5 * time.Second
	defaultBodies = 128 << 20
)

// setMemory sets the process's limits, unless its environment has set them.
func setMemory(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(usualPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// garbagePercent is GOGC, the percentage of garbage over live memory: of state, and of held bytes of bodies.
func garbagePercent(state, held int64) int {
	state = max(state, usualState)
	return int((usualGarbage + (state-usualState)/stateShare + held/heldShare) * 100 / (state + held))
}

// tuneGarbageCollector has the garbage collector run more often while there is much state or many bodies are held, and returns
// memory to the system after the latter, until ctx is done.
func tuneGarbageCollector(ctx context.Context, bodies *chain.Budget) {
	timer := time.NewTimer(burstTimeout)
	timer.Stop()
	high, waiting := false, false
	percent := usualPercent
	tune := func(held int64) {
		next := garbagePercent(liveBytes()-held, held)
		if next != percent && os.Getenv("GOGC") == "" {
			percent = next
			debug.SetGCPercent(percent)
		}
	}
	collections := watchCollections(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			high, waiting = false, false
			debug.FreeOSMemory()
		case <-collections:
			tune(bodies.Stats().Held)
		case <-bodies.Changed():
			held := bodies.Stats().Held
			tune(held)
			switch {
			case held >= burst:
				high, waiting = true, false
				timer.Stop()
			case high && !waiting:
				waiting = true
				timer.Reset(burstTimeout)
			}
		}
	}
}

// liveBytes returns the memory that the last garbage collection has left.
func liveBytes() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(min(sample[0].Value.Uint64(), math.MaxInt64)) //nolint:gosec // bounded
}

// watchCollections yields a value after garbage collections, until ctx is done.
func watchCollections(ctx context.Context) <-chan struct{} {
	collected := make(chan struct{}, 1)
	var watch func()
	watch = func() {
		runtime.AddCleanup(new(collection), func(struct{}) {
			if ctx.Err() != nil {
				return
			}
			select {
			case collected <- struct{}{}:
			default:
			}
			watch()
		}, struct{}{})
	}
	watch()
	return collected
}

// collection is garbage at once. It has a size, and a pointer, so that the runtime gives each a place of its own.
type collection struct{ _ *byte }
