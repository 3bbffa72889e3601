package chain

import (
	"math"
	"sync/atomic"
)

// Budget limits the bytes of bodies held at once, in all exchanges together. A nil one has no limit.
//
// It counts allocated memory: the pieces of a body, the memory they are joined in, bodies that policies make, and while
// a policy runs one more copy of its bodies, which the way to Python makes.
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

// Changed has a token when the held bytes have passed another multiple of BudgetStep, up or down, since the last token
// was taken.
func (b *Budget) Changed() <-chan struct{} { return b.changed }

// BudgetStep is the change of the held bytes that Changed reports.
const BudgetStep = 8 << 20

// largest returns the size of the largest body that fits an empty budget: while it is joined, it is held twice.
func (b *Budget) largest() int64 {
	if b == nil {
		return math.MaxInt64
	}
	return b.limit / 2
}

// fits reports whether that many bytes more would be within the limit, and counts a refusal if not.
func (b *Budget) fits(more int64) bool {
	if b == nil || b.held.Load()+more <= b.limit {
		return true
	}
	b.refused.Add(1)
	return false
}

// reserve adds bytes to the held ones, unless they do not fit.
func (b *Budget) reserve(more int64) bool {
	if b.tryReserve(more) {
		return true
	}
	b.refused.Add(1)
	return false
}

// tryReserve is reserve for memory that the caller can do without: a failure counts as no refusal.
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

// charge adds bytes that are held already, whether they fit or not. A negative number gives bytes back.
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
