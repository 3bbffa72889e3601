package chain

import (
	"sync"
	"sync/atomic"
	"time"
)

// Table holds the chains that exchanges can find. The zero value is empty and ready.
type Table struct {
	mutex  sync.RWMutex
	chains map[string]*Chain
}

// use counts a chain's exchanges for the Table that holds it.
type use struct {
	active     atomic.Int64
	retirement atomic.Pointer[retirement]
}

// retirement is a chain's pending removal. It is cancelled if the chain is put back, or retired anew.
type retirement struct {
	grace  time.Duration
	onGone func()
	timer  *time.Timer
}

// Put lets exchanges find chain by its id, in place of an earlier chain with the same id, and cancels a retirement of
// that id.
func (t *Table) Put(chain *Chain) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.put(chain)
}

func (t *Table) put(chain *Chain) {
	if t.chains == nil {
		t.chains = map[string]*Chain{}
	}
	if old, ok := t.chains[chain.ID()]; ok {
		old.use.cancelRetirement()
	}
	t.chains[chain.ID()] = chain
}

// Replace lets exchanges that begin from now on find chain, in place of the one with its id. It calls onGone grace
// after the last exchange of the old chain has ended (after now, if none is under way), once, in a goroutine of its
// own. A retirement of the id is cancelled.
func (t *Table) Replace(chain *Chain, grace time.Duration, onGone func()) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	old := t.chains[chain.ID()]
	t.put(chain)
	if old == nil {
		go onGone()
		return
	}
	t.retire(old, grace, onGone)
}

// Acquire finds a chain, and counts an exchange as under way until Release.
func (t *Table) Acquire(id string) (*Chain, bool) {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	chain, ok := t.chains[id]
	if ok {
		chain.use.active.Add(1)
	}
	return chain, ok
}

// Release ends the use that Acquire began.
func (c *Chain) Release() {
	pending := c.use.retirement.Load()
	if pending != nil {
		pending.timer.Reset(pending.grace) // before the count falls, so that the old timer never sees zero
	}
	c.use.active.Add(-1)
	if pending != nil {
		pending.timer.Reset(pending.grace) // again, for the timer may have fired while this exchange was under way
	}
}

// Retire removes the chain grace after its last exchange has ended (after now, if none is under way), and then calls
// onGone, once, in a goroutine of its own. Until then exchanges find it: Envoy's workers may still name it. For an
// unknown id onGone is called at once.
func (t *Table) Retire(id string, grace time.Duration, onGone func()) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	chain, ok := t.chains[id]
	if !ok {
		go onGone()
		return
	}
	t.retire(chain, grace, onGone)
}

func (t *Table) retire(chain *Chain, grace time.Duration, onGone func()) {
	chain.use.cancelRetirement()
	pending := &retirement{grace: grace, onGone: onGone}
	pending.timer = time.AfterFunc(grace, func() { t.remove(chain, pending) })
	chain.use.retirement.Store(pending)
}

// remove runs when the grace period is over. A chain in use stays: the Release of its last exchange restarts the
// period.
func (t *Table) remove(chain *Chain, pending *retirement) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if chain.use.retirement.Load() != pending || chain.use.active.Load() > 0 {
		return
	}
	if t.chains[chain.ID()] == chain { // otherwise a new chain has taken its place
		delete(t.chains, chain.ID())
	}
	chain.use.retirement.Store(nil)
	go pending.onGone()
}

func (u *use) cancelRetirement() {
	if old := u.retirement.Swap(nil); old != nil {
		old.timer.Stop()
	}
}

// All lists the chains, in no particular order.
func (t *Table) All() []*Chain {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	all := make([]*Chain, 0, len(t.chains))
	for _, chain := range t.chains {
		all = append(all, chain)
	}
	return all
}
