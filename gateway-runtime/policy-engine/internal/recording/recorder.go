// Package recording records exchanges in detail, for clients that request it: what each policy saw and changed, how long it took
// and why it failed. It records only on request, for a time and by a filter; it removes secrets before it
// keeps or shows anything; its memory is bounded, and no exchange ever waits for it.
package recording

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/redaction"
)

// Limits of recordings.
const (
	MaxRecordings = 64        // at the same time
	MaxTime       = time.Hour // for a recording without a follower
)

// ErrDisabled is returned by Start and Follow if the node's Gateway gives recordings no memory.
var ErrDisabled = errors.New("the node records nothing: spec.recording.maxBytes of its Gateway is 0, or it has none yet")

// ErrTooMany is wrapped by the errors of Start and Follow while MaxRecordings are under way.
var ErrTooMany = errors.New("too many recordings")

// Options configure a Recorder.
type Options struct {
	Node      string            // its id
	Labels    map[string]string // the node's, for a controller
	Watches   *exchange.Watches
	Values    *redaction.Values // secrets by value, beside those that the Gateway names; nil: none
	Documents Documents         // documents that a controller may request on the same stream; nil: none
	Log       *slog.Logger
}

// Recorder records exchanges. Configure it before its first recording: until then it has no memory for exchanges.
type Recorder struct {
	options  Options
	log      *slog.Logger
	settings atomic.Pointer[settings]
	memory   memory
	kept     kept

	mutex      sync.Mutex
	last       uint64       // the last id assigned
	recordings []*Recording // by id
	active     atomic.Pointer[[]*Recording]

	recorded, dropped, refused atomic.Uint64
}

// settings are the recording settings of the node's Gateway.
type settings struct {
	maxBytes  int64
	bodyBytes int
	list      *redaction.List
	harmless  harmless // by this list
}

// NewRecorder makes a recorder without recordings.
func NewRecorder(options Options) *Recorder {
	r := &Recorder{options: options, log: options.Log}
	r.settings.Store(&settings{})
	return r
}

// Configure sets the settings for exchanges that begin from then on. Recorded exchanges beyond the new limit are evicted.
func (r *Recorder) Configure(message *nodev1.Recording, list *redaction.List) {
	s := &settings{maxBytes: int64(message.GetMaxBytes()), bodyBytes: int(message.GetBodyBytes()), list: list} //nolint:gosec // the controller bounds both
	s.harmless.limit = s.maxBytes / harmlessShare
	r.settings.Store(s)
	r.memory.limit.Store(s.maxBytes)
	r.kept.setLimit(s.maxBytes / 2)
}

// ---------------------------------------------------------------- recordings

// Recording is a request to record exchanges, until it is stopped or its time is over.
type Recording struct {
	ID       uint64
	filter   Filter
	until    time.Time // zero: until it is stopped
	count    atomic.Uint64
	timer    *time.Timer
	follower *Follower // nil: the exchanges are only kept
}

// Status is the state of a recording.
type Status struct {
	ID       uint64     `json:"id"`
	Filter   Filter     `json:"filter"`
	Until    *time.Time `json:"until,omitempty"` // absent: until its follower leaves
	Recorded uint64     `json:"recorded"`
	Followed bool       `json:"followed"`
}

// Start records the exchanges that match the filter, for a time of up to MaxTime.
func (r *Recorder) Start(filter Filter, lasts time.Duration) (Status, error) {
	if lasts <= 0 || lasts > MaxTime {
		return Status{}, fmt.Errorf("seconds: expected 1 to %d, got %d", int(MaxTime.Seconds()), int(lasts.Seconds()))
	}
	recording := &Recording{filter: filter}
	if err := r.add(recording, lasts); err != nil {
		return Status{}, err
	}
	return recording.status(), nil
}

// add begins a recording that lasts for a time; 0: until it is stopped.
func (r *Recorder) add(recording *Recording, lasts time.Duration) error {
	if r.settings.Load().maxBytes == 0 {
		return ErrDisabled
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.recordings) >= MaxRecordings {
		return fmt.Errorf("%w: expected at most %d at a time; wait until one ends, or stop one", ErrTooMany, MaxRecordings)
	}
	r.last++
	recording.ID = r.last
	if lasts > 0 {
		recording.until = time.Now().Add(lasts).UTC().Truncate(time.Millisecond)
		recording.timer = time.AfterFunc(lasts, func() { r.Stop(recording.ID) })
	}
	r.recordings = append(r.recordings, recording)
	r.publish()
	return nil
}

// Stop ends a recording; false: there is none with this id. Its recorded exchanges stay.
func (r *Recorder) Stop(id uint64) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	at := slices.IndexFunc(r.recordings, func(recording *Recording) bool { return recording.ID == id })
	if at < 0 {
		return false
	}
	recording := r.recordings[at]
	r.recordings = slices.Delete(r.recordings, at, at+1)
	if recording.timer != nil {
		recording.timer.Stop()
	}
	if recording.follower != nil {
		recording.follower.end()
	}
	r.publish()
	return true
}

// publish applies the list of recordings to new exchanges. Without a recording, exchanges skip the recorder.
func (r *Recorder) publish() {
	list := slices.Clone(r.recordings)
	r.active.Store(&list)
	if len(list) == 0 {
		r.options.Watches.Set("recording", nil)
	} else {
		r.options.Watches.Set("recording", r.watch)
	}
}

func (r *Recording) status() Status {
	s := Status{ID: r.ID, Filter: r.filter, Recorded: r.count.Load(), Followed: r.follower != nil}
	if !r.until.IsZero() {
		s.Until = &r.until
	}
	return s
}

// Stats are a recorder's counters.
type Stats struct {
	Recordings []Status `json:"recordings"` // under way
	Kept       int      `json:"kept"`       // exchanges
	KeptBytes  int64    `json:"keptBytes"`
	UsedBytes  int64    `json:"usedBytes"` // by exchanges under way
	MaxBytes   int64    `json:"maxBytes"`  // the limit for all of it
	Recorded   uint64   `json:"recorded"`
	Evicted    uint64   `json:"evicted"` // exchanges that were evicted for others
	Refused    uint64   `json:"refused"` // exchanges that were not watched for lack of memory
	Dropped    uint64   `json:"dropped"` // exchanges that a follower did not read in time
}

// Stats returns the counters.
func (r *Recorder) Stats() Stats {
	s := Stats{Recordings: []Status{}, UsedBytes: r.memory.used.Load(), MaxBytes: r.settings.Load().maxBytes,
		Recorded: r.recorded.Load(), Refused: r.refused.Load(), Dropped: r.dropped.Load()}
	s.Kept, s.KeptBytes, s.Evicted = r.kept.stats()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, recording := range r.recordings {
		s.Recordings = append(s.Recordings, recording.status())
	}
	slices.SortFunc(s.Recordings, func(a, b Status) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// ---------------------------------------------------------------- exchanges

// watch is an exchange.Watch: it returns a draft for an exchange that may match a recording.
func (r *Recorder) watch(_ context.Context, begins exchange.Opening, head chain.Head, c *chain.Chain) exchange.Watcher {
	path, _, _ := strings.Cut(head.Path, "?")
	o := opening{id: begins.RequestID, path: path, client: head.ClientAddress, headers: head.Headers}
	if c != nil {
		o.api, o.operation = c.API(), c.Operation()
		for _, instance := range c.Instances() {
			o.policies = append(o.policies, instance.Name())
		}
	} else {
		o.api, o.operation, _ = exchange.RouteParts(begins.Route)
	}
	var candidates []*Recording
	for _, recording := range *r.active.Load() {
		if recording.filter.fitsOpening(&o) && recording.filter.isSampled() {
			candidates = append(candidates, recording)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	d := &draft{recorder: r, settings: r.settings.Load(), candidates: candidates, began: time.Now(), opening: begins, head: head, chain: c}
	if !d.charge(draftSize) {
		r.refused.Add(1)
		return nil
	}
	return d
}

func (f *Filter) isSampled() bool { return f.Sample == nil || rand.Float64() < *f.Sample }

// record keeps an exchange, and passes it to the followers.
func (r *Recorder) record(id string, text []byte, recordings []*Recording) {
	r.recorded.Add(1)
	text = slices.Clip(text)
	r.kept.add(entry{id, text}, r.settings.Load().maxBytes/2)
	for _, recording := range recordings {
		recording.count.Add(1)
		if recording.follower != nil {
			recording.follower.put(text)
		}
	}
}

// Kept returns the recorded exchanges that match, the oldest first, as JSON.
func (r *Recorder) Kept(filter Filter) [][]byte {
	texts := [][]byte{}
	for _, entry := range r.kept.all() {
		if filter.ID != "" && filter.ID != entry.id {
			continue
		}
		if e, err := decode(entry.text); err == nil && filter.fits(e) {
			texts = append(texts, entry.text)
		}
	}
	return texts
}

// Forget removes all recorded exchanges, and returns their number.
func (r *Recorder) Forget() int { return r.kept.clear() }
