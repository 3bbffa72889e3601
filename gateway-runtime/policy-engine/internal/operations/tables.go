package operations

import (
	"sync"
	"time"
)

// Tables holds the tables that exchanges can find. The zero value is empty and ready.
type Tables struct {
	mutex sync.RWMutex
	held  map[string]*held
}

// held is a table and the number of bundles that have it. removal is pending while no bundle has it.
type held struct {
	table   *Table
	bundles int
	removal *time.Timer
}

// Find returns the table with this id; nil: there is none.
func (t *Tables) Find(id string) *Table {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	if found := t.held[id]; found != nil {
		return found.table
	}
	return nil
}

// Acquire lets exchanges find the table, and counts one more bundle that has it.
func (t *Tables) Acquire(table *Table) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.held == nil {
		t.held = map[string]*held{}
	}
	found := t.held[table.ID]
	if found == nil {
		found = &held{table: table}
		t.held[table.ID] = found
	}
	found.bundles++
	if found.removal != nil {
		found.removal.Stop()
		found.removal = nil
	}
}

// Release undoes one Acquire. Exchanges find the table until grace after the last one: Envoy's workers may still name it.
func (t *Tables) Release(id string, grace time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	found := t.held[id]
	if found == nil {
		return
	}
	if found.bundles--; found.bundles > 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(grace, func() {
		t.mutex.Lock()
		defer t.mutex.Unlock()
		if found.removal == timer { // otherwise a bundle has the table again
			delete(t.held, id)
		}
	})
	found.removal = timer
}
