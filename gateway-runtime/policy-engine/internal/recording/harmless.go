package recording

import (
	"strings"
	"sync"
)

// harmless are headers without a secret, by the list of the settings that they belong to: most come again and again, and
// looking for secrets costs more than all else. Only what has none is remembered.
type harmless struct {
	mutex sync.RWMutex
	known map[[2]string]struct{} // name, value
	bytes int64
	limit int64
}

// What of a header is remembered: values of this length, and what an entry takes beside its text.
const (
	harmlessValue = 256
	harmlessSize  = 96
)

func (h *harmless) has(name, value string) bool {
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	_, known := h.known[[2]string{name, value}]
	return known
}

// add remembers a header. Where there is no room, all are forgotten: those that come again are soon there.
func (h *harmless) add(name, value string) {
	size := int64(len(name)+len(value)) + harmlessSize
	if len(value) > harmlessValue || size > h.limit {
		return
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.known == nil || h.bytes+size > h.limit {
		h.known, h.bytes = map[[2]string]struct{}{}, 0
	}
	key := [2]string{strings.Clone(name), strings.Clone(value)} // not with the message that they came in
	if _, known := h.known[key]; !known {
		h.known[key] = struct{}{}
		h.bytes += size
	}
}
