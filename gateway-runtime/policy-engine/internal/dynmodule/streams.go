package dynmodule

import "sync"

// ID is a stream, as its filter knows it: no two streams have the same, one after the other either. 0 is none.
type ID uint64

// streams are the streams that have not ended, by ID: a place in a list, and how often the place was taken before.
type streams struct {
	mu     sync.Mutex
	places []place
	free   []uint32 // the indexes of places that are not taken
}

type place struct {
	stream *stream // nil: it is not taken
	uses   uint32
}

func (t *streams) add(s *stream) ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.free) - 1
	if last < 0 {
		t.places = append(t.places, place{s, 1})
		return newID(len(t.places)-1, 1)
	}
	at := t.free[last]
	t.free = t.free[:last]
	taken := &t.places[at]
	taken.stream, taken.uses = s, taken.uses+1
	return newID(int(at), taken.uses)
}

func newID(at int, uses uint32) ID { return ID(uint64(uses)<<32 | uint64(at+1)) } //nolint:gosec // far below 2³² at a time

// find returns the stream; nil: it has ended.
func (t *streams) find(id ID) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	if found := t.at(id); found != nil {
		return found.stream
	}
	return nil
}

// remove forgets the stream, and returns it; nil: it has ended before.
func (t *streams) remove(id ID) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.at(id)
	if found == nil {
		return nil
	}
	s := found.stream
	found.stream = nil
	t.free = append(t.free, uint32(id)-1) //nolint:gosec // the place
	return s
}

// at returns the place of the stream; nil: it has ended.
func (t *streams) at(id ID) *place {
	at := int(uint32(id)) - 1 //nolint:gosec // the place
	if at < 0 || at >= len(t.places) {
		return nil
	}
	if found := &t.places[at]; found.stream != nil && found.uses == uint32(id>>32) { //nolint:gosec // the uses
		return found
	}
	return nil
}

// len is the number of streams that have not ended.
func (t *streams) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.places) - len(t.free)
}
