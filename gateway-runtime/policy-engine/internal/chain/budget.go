package chain

import (
	"math"
	"sync/atomic"
)

// Budget is how many bytes of bodies may be held at once, in all exchanges together. A nil one has no limit.
//
// Counted is what is allocated, not what is used of it: what came of a body, what it is joined in, what policies made,
// and for as long as a policy runs one more copy of what it was given, which the way to Python makes.
type Budget struct {
	limit   int64
	held    atomic.Int64
	refused atomic.Uint64
	changed chan struct{}
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit, changed: make(chan struct{}, 1)} }

// BudgetStats are a budget's figures, in bytes.
type BudgetStats struct {
	Limit   int64  `json:"limitBytes"`
	Held    int64  `json:"heldBytes"`
	Refused uint64 `json:"refused"` // bodies that did not fit, since the start
}

// Stats reads the figures.
func (b *Budget) Stats() BudgetStats { return BudgetStats{b.limit, b.held.Load(), b.refused.Load()} }

// Changed has a token whenever what is held has passed another multiple of BudgetStep, up or down, since it was taken.
func (b *Budget) Changed() <-chan struct{} { return b.changed }

// BudgetStep is the change of what is held, in bytes, that Changed tells of.
const BudgetStep = 8 << 20

// largest is how many bytes one body may have to fit where nothing else is held: it is there twice while it is joined.
func (b *Budget) largest() int64 {
	if b == nil {
		return math.MaxInt64
	}
	return b.limit / 2
}

// fits reports whether that many bytes more would be within the limit. One that says no counts as refused.
func (b *Budget) fits(more int64) bool {
	if b == nil || b.held.Load()+more <= b.limit {
		return true
	}
	b.refused.Add(1)
	return false
}

// reserve adds bytes to what is held, unless they do not fit.
func (b *Budget) reserve(more int64) bool {
	if b.tryReserve(more) {
		return true
	}
	b.refused.Add(1)
	return false
}

// tryReserve is reserve for what can be done without: a failure counts as no refusal.
func (b *Budget) tryReserve(more int64) bool {
	if b == nil || more == 0 {
		return true
	}
	for {
		before := b.held.Load()
		if before+more > b.limit {
			return false
		}
		if b.held.CompareAndSwap(before, before+more) {
			b.notify(before, before+more)
			return true
		}
	}
}

// charge adds bytes that are there already, whether they fit or not. A negative number gives back.
func (b *Budget) charge(more int64) {
	if b != nil && more != 0 {
		after := b.held.Add(more)
		b.notify(after-more, after)
	}
}

func (b *Budget) notify(before, after int64) {
	if before/BudgetStep == after/BudgetStep {
		return
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}
