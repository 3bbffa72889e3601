package recording

import (
	"context"
	"io"
	"sync"
	"time"
)

// Follower receives the exchanges of a recording as they end. Exchanges that it does not read in time are dropped, and counted.
type Follower struct {
	recorder  *Recorder
	recording *Recording

	mutex   sync.Mutex
	waiting [][]byte
	bytes   int64 // of the waiting exchanges
	taken   int64 // of the exchanges that Next returned last
	dropped uint64
	ended   bool
	more    chan struct{} // receives a value when there is more
}

// Follow records the exchanges that match the filter, for a time, or, if that is 0, until Close.
func (r *Recorder) Follow(filter Filter, lasts time.Duration) (*Follower, error) {
	f := &Follower{recorder: r, recording: &Recording{filter: filter}, more: make(chan struct{}, 1)}
	f.recording.follower = f
	if err := r.add(f.recording, lasts); err != nil {
		return nil, err
	}
	return f, nil
}

// Close ends the recording, and discards the waiting exchanges.
func (f *Follower) Close() {
	f.recorder.Stop(f.recording.ID)
	_, _, _ = f.drain()
	_, _, _ = f.drain()
}

// Stop ends the recording. The waiting exchanges can still be read.
func (f *Follower) Stop() { f.recorder.Stop(f.recording.ID) }

// put adds an exchange, or drops it if too much waits already. It does not block.
func (f *Follower) put(text []byte) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.ended {
		return
	}
	size := int64(len(text)) + entrySize
	if f.bytes+f.taken+size > f.share() || !f.recorder.memory.queue(size) {
		f.dropped++
		f.recorder.dropped.Add(1)
	} else {
		f.waiting, f.bytes = append(f.waiting, text), f.bytes+size
	}
	f.wake()
}

// share returns this follower's share of the quarter of the memory that all followers have.
func (f *Follower) share() int64 {
	return f.recorder.settings.Load().maxBytes / 4 / max(1, int64(f.recorder.followers()))
}

func (r *Recorder) followers() int {
	count := 0
	for _, recording := range *r.active.Load() {
		if recording.follower != nil {
			count++
		}
	}
	return count
}

func (f *Follower) end() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.ended = true
	f.wake()
}

func (f *Follower) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// Next waits for exchanges, as JSON, which are valid until the next call, and returns how many were dropped since the last
// call. io.EOF follows the last ones.
func (f *Follower) Next(ctx context.Context) (exchanges [][]byte, dropped uint64, err error) {
	for {
		exchanges, dropped, ended := f.drain()
		if len(exchanges) > 0 || dropped > 0 {
			return exchanges, dropped, nil
		}
		if ended {
			return nil, 0, io.EOF
		}
		select {
		case <-f.more:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

func (f *Follower) drain() (exchanges [][]byte, dropped uint64, ended bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	exchanges, dropped = f.waiting, f.dropped
	f.recorder.memory.unqueue(f.taken)
	f.waiting, f.taken, f.bytes, f.dropped = nil, f.bytes, 0, 0
	return exchanges, dropped, f.ended
}
