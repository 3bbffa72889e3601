package exchange

import (
	"container/list"
	"sync"

	"gatewright.dev/policy-engine/internal/chain"
)

// maxIdle bounds the counters without a chain: of operations and policies that an edit removed from their API. Those
// that have been idle for longest are dropped first.
const maxIdle = 1000

// table holds counters by their labels, so that they outlive the chains that use them.
type table[C counter] struct {
	mutex sync.Mutex
	apis  map[string]map[chain.Labels]C
	idle  list.List // the counters without a chain, of type C; the longest idle first
}

// counter is an element of a table. The table's mutex is held while its methods are called.
type counter interface {
	comparable
	inTable() *place
	// hasCounts reports whether the counter is worth keeping without a chain.
	hasCounts() bool
	// onDrop is called when the table has removed the counter.
	onDrop()
}

// place is a counter's state in its table. The table's mutex guards all but the labels.
type place struct {
	labels  chain.Labels
	chains  int           // chains that use the counter
	removed bool          // its API was removed: the counter goes with its last chain
	idle    *list.Element // in the table's list; nil while a chain uses it
}

func (p *place) inTable() *place { return p }

// open returns the counter with these labels, for one more chain.
func (t *table[C]) open(labels chain.Labels, makeCounter func() C) C {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.apis == nil {
		t.apis = map[string]map[chain.Labels]C{}
	}
	if t.apis[labels.API] == nil {
		t.apis[labels.API] = map[chain.Labels]C{}
	}
	element, ok := t.apis[labels.API][labels]
	if !ok {
		element = makeCounter()
		element.inTable().labels = labels
		t.apis[labels.API][labels] = element
	}
	at := element.inTable()
	at.chains++
	at.removed = false
	if at.idle != nil {
		t.idle.Remove(at.idle)
		at.idle = nil
	}
	return element
}

// close ends a chain's use of the counter.
func (t *table[C]) close(element C) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	at := element.inTable()
	if at.chains--; at.chains > 0 {
		return
	}
	if at.removed || !element.hasCounts() {
		t.drop(element)
		return
	}
	at.idle = t.idle.PushBack(element)
	if t.idle.Len() > maxIdle {
		t.drop(t.idle.Front().Value.(C))
	}
}

// drop removes a counter that no chain uses.
func (t *table[C]) drop(element C) {
	at := element.inTable()
	if at.idle != nil {
		t.idle.Remove(at.idle)
		at.idle = nil
	}
	counters := t.apis[at.labels.API]
	if delete(counters, at.labels); len(counters) == 0 {
		delete(t.apis, at.labels.API)
	}
	element.onDrop()
}

// removeAPI drops the counters of an API: unused ones at once, the others with their last chain.
func (t *table[C]) removeAPI(api string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, element := range t.apis[api] {
		if at := element.inTable(); at.chains == 0 {
			t.drop(element)
		} else {
			at.removed = true
		}
	}
}

// all yields every counter, in no particular order. The caller holds the mutex.
func (t *table[C]) all(yield func(C) bool) {
	for _, counters := range t.apis {
		for _, element := range counters {
			if !yield(element) {
				return
			}
		}
	}
}
