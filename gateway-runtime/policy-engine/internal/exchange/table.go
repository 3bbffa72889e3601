package exchange

import (
	"cmp"
	"container/list"
	"slices"
	"sync"

	"gatewright.dev/policy-engine/internal/chain"
)

// maxIdle bounds the counters without a chain: of operations and policies that an edit removed from their API. Those
// that have been idle for longest are dropped first.
const maxIdle = 1000

// table holds counters by their labels, so that they outlive the chains that use them.
type table[C counter] struct {
	mutex sync.Mutex
	apis  map[string][]C // in the order of search; a map for each of many APIs would take more memory than the counters
	idle  list.List      // the counters without a chain, of type C; the longest idle first
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
		t.apis = map[string][]C{}
	}
	counters := t.apis[labels.API]
	n, found := search(counters, labels)
	if !found {
		element := makeCounter()
		element.inTable().labels = labels
		counters = slices.Insert(counters, n, element)
		t.apis[labels.API] = counters
	}
	element := counters[n]
	at := element.inTable()
	at.chains++
	at.removed = false
	if at.idle != nil {
		t.idle.Remove(at.idle)
		at.idle = nil
	}
	return element
}

// search finds the place of a counter among those of its API.
func search[C counter](counters []C, labels chain.Labels) (int, bool) {
	return slices.BinarySearchFunc(counters, labels, func(element C, labels chain.Labels) int {
		own := &element.inTable().labels
		return cmp.Or(cmp.Compare(own.Policy, labels.Policy), cmp.Compare(own.Operation, labels.Operation), order(own.Shadow)-order(labels.Shadow))
	})
}

func order(isShadow bool) int {
	if isShadow {
		return 1
	}
	return 0
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
	if n, found := search(counters, at.labels); found {
		counters = slices.Delete(counters, n, n+1)
	}
	if t.apis[at.labels.API] = counters; len(counters) == 0 {
		delete(t.apis, at.labels.API)
	}
	element.onDrop()
}

// removeAPI drops the counters of an API: unused ones at once, the others with their last chain.
func (t *table[C]) removeAPI(api string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, element := range slices.Clone(t.apis[api]) { // drop changes the slice
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
