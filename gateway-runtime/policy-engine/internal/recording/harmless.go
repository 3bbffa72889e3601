package recording

import (
	"strings"
	"sync"
)

// harmless caches headers without a secret, by the list of names of their settings: most headers recur, and
// searching them for secrets costs more than all else. Headers with a secret are not cached.
type harmless struct {
	mutex  sync.RWMutex
	cached map[[2]string]struct{} // name, value
	bytes  int64
	limit  int64
}

// The longest value that is cached, and the memory of an entry beside its text.
const (
	harmlessValue = 256
	harmlessSize  = 96
)

func (h *harmless) has(name, value string) bool {
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	_, ok := h.cached[[2]string{name, value}]
	return ok
}

// add caches a header. A full cache is emptied: frequent headers soon return to it.
func (h *harmless) add(name, value string) {
	size := int64(len(name)+len(value)) + harmlessSize
	if len(value) > harmlessValue || size > h.limit {
		return
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.cached == nil || h.bytes+size > h.limit {
		h.cached, h.bytes = map[[2]string]struct{}{}, 0
	}
	key := [2]string{strings.Clone(name), strings.Clone(value)} // clones, which do not keep their message in memory
	if _, ok := h.cached[key]; !ok {
		h.cached[key] = struct{}{}
		h.bytes += size
	}
}
