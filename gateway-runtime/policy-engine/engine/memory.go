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
// much garbage as state; but only an eighth of the state of many APIs, and of the held bodies.
const (
	usualPercent  = 400
	usualGarbage  = 64 << 20
	usualState    = usualGarbage * 100 / usualPercent
	stateShare    = 8                    // garbage may grow by further state / stateShare
	heldShare     = 8                    // garbage may grow by held bodies / heldShare
	burst         = 2 * chain.BudgetStep // bytes of bodies after which memory is returned to the system
	burstTimeout  = 5 * time.Second
	mostIdle      = 2 * usualGarbage // bytes of the heap that are neither used nor returned, as after an update of many APIs
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
// memory to the system when much of it is idle, until ctx is done.
func tuneGarbageCollector(ctx context.Context, bodies *chain.Budget) {
	timer := time.NewTimer(burstTimeout)
	timer.Stop()
	high, waiting := false, false
	percent := usualPercent
	tune := func(held int64) {
		next := garbagePercent(readBytes("/gc/heap/live:bytes")-held, held)
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
			if high || readBytes("/memory/classes/heap/free:bytes") > mostIdle {
				debug.FreeOSMemory()
			}
			high, waiting = false, false
		case <-collections:
			tune(bodies.Stats().Held)
			if !high && !waiting { // what it has freed is known once it is swept
				waiting = true
				timer.Reset(burstTimeout)
			}
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

// readBytes returns a metric of the runtime's.
func readBytes(name string) int64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return int64(min(sample[0].Value.Uint64(), math.MaxInt64)) //nolint:gosec // bounded
}

// watchCollections yields a value after garbage collections, until ctx is done. It may miss one right behind another.
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
