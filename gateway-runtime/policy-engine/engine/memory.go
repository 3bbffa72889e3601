package engine

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// The settings of the garbage collector. Exchanges leave much garbage and little state, so there may be four times as
// much garbage as state; but only an eighth of the held bodies.
const (
	usualPercent  = 400
	usualGarbage  = 64 << 20
	usualState    = usualGarbage * 100 / usualPercent
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

// garbagePercent is GOGC, the percentage of garbage over live memory, while held bytes of bodies are live.
func garbagePercent(held int64) int {
	return int((usualGarbage + held/heldShare) * 100 / (usualState + held))
}

// tuneGarbageCollector has the garbage collector run more often while many bodies are held, and returns memory to the
// system afterwards, until ctx is done.
func tuneGarbageCollector(ctx context.Context, bodies *chain.Budget) {
	timer := time.NewTimer(burstTimeout)
	timer.Stop()
	high, waiting := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			high, waiting = false, false
			debug.FreeOSMemory()
		case <-bodies.Changed():
			held := bodies.Stats().Held
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(garbagePercent(held))
			}
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
