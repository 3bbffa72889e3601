package engine

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// What the garbage collector is told. Exchanges leave much garbage and little state, so that there may be four times as
// much garbage as state; but of bodies that are held, an eighth.
const (
	usualPercent  = 400
	usualGarbage  = 64 << 20
	usualState    = usualGarbage * 100 / usualPercent
	heldShare     = 8                    // one part in so many
	burst         = 2 * chain.BudgetStep // bytes of bodies: after so many, memory is given back
	burstIsOver   = 5 * time.Second
	defaultBodies = 128 << 20
)

// setMemory sets what holds for the process, unless its environment says otherwise.
func setMemory(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(usualPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// garbagePercent is how much garbage there may be beside what is in use, in percent of it, where bodies take so much.
func garbagePercent(held int64) int {
	return int((usualGarbage + held/heldShare) * 100 / (usualState + held))
}

// tuneGarbageCollector lets the garbage collector run more often while many bodies are held, and gives memory back to
// the system after that, until ctx is done.
func tuneGarbageCollector(ctx context.Context, bodies *chain.Budget) {
	over := time.NewTimer(burstIsOver)
	over.Stop()
	high, waiting := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
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
				over.Stop()
			case high && !waiting:
				waiting = true
				over.Reset(burstIsOver)
			}
		}
	}
}
