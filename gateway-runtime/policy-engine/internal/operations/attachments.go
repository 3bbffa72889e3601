package operations

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Attachments holds the tables of the APIs that routes of other Envoys name. The zero value is empty and ready.
type Attachments struct {
	mutex    sync.RWMutex
	attached []attached // in the order in which they were acquired
	exact    map[string]*Table
	prefixes []namePrefix // the longest first
}

// attached is a table with the names that lead to it.
type attached struct {
	api    string
	digest string // of its bundle
	names  []string
	table  *Table
}

// namePrefix is a name that ends in "*", without that.
type namePrefix struct {
	text  string
	table *Table
}

// Find returns the table that a name leads to: by the name itself, else by the longest one that ends in "*"; nil: none does.
func (a *Attachments) Find(name string) *Table {
	if name == "" {
		return nil
	}
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	if table := a.exact[name]; table != nil {
		return table
	}
	for _, prefix := range a.prefixes {
		if strings.HasPrefix(name, prefix.text) {
			return prefix.table
		}
	}
	return nil
}

// Acquire lets names lead to the table of the API's bundle with this digest, until it is released. Of several bundles of an
// API the one that was acquired last has a name. An error says which API has one of the names already.
func (a *Attachments) Acquire(api, digest string, names []string, table *Table) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, other := range a.attached {
		for _, name := range other.names {
			if other.api != api && slices.Contains(names, name) {
				return fmt.Errorf("attached_to: expected names that no other API has, got %q, which is %s's", name, other.api)
			}
		}
	}
	a.attached = append(a.attached, attached{api, digest, names, table})
	a.index()
	return nil
}

// Release undoes one Acquire. An exchange that has found the table goes on with it.
func (a *Attachments) Release(api, digest string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if n := slices.IndexFunc(a.attached, func(other attached) bool { return other.api == api && other.digest == digest }); n >= 0 {
		a.attached = slices.Delete(a.attached, n, n+1)
		a.index()
	}
}

// index makes the index of names. The caller holds the mutex.
func (a *Attachments) index() {
	a.exact = map[string]*Table{}
	prefixes := map[string]*Table{}
	for _, attached := range a.attached {
		for _, name := range attached.names {
			if text, found := strings.CutSuffix(name, "*"); found {
				prefixes[text] = attached.table
			} else {
				a.exact[name] = attached.table
			}
		}
	}
	a.prefixes = a.prefixes[:0]
	for text, table := range prefixes {
		a.prefixes = append(a.prefixes, namePrefix{text, table})
	}
	slices.SortFunc(a.prefixes, func(one, other namePrefix) int { return len(other.text) - len(one.text) })
}
