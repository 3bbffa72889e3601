// Package recording keeps exchanges in detail, for whom asks for them: what each policy saw and changed, how long it took
// and why it failed. Nothing is recorded unless somebody asks, for a time and by a filter; secrets are taken out before
// anything is kept or shown; memory is bounded, and no exchange ever waits.
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

// What a recording may ask for.
const (
	MaxRecordings = 64        // at a time
	MaxTime       = time.Hour // without somebody who follows
)

// ErrDisabled is what Start and Follow return where the node's Gateway gives recordings no memory.
var ErrDisabled = errors.New("the node records nothing: spec.recording.maxBytes of its Gateway is 0, or it has none yet")

// ErrTooMany is wrapped by what Start and Follow return while MaxRecordings are under way.
var ErrTooMany = errors.New("too many recordings")

// Options are what a Recorder is made of.
type Options struct {
	Node      string // its id
	Watches   *exchange.Watches
	Values    *redaction.Values // secrets by what they are, beside those that the Gateway names; nil: there are none
	Documents Documents         // that a controller may ask for on the same stream; nil: none
	Log       *slog.Logger
}

// Recorder records exchanges. Configure it before its first recording: before that nothing fits its memory.
type Recorder struct {
	options  Options
	log      *slog.Logger
	settings atomic.Pointer[settings]
	memory   memory
	kept     kept

	mutex      sync.Mutex
	last       uint64       // the last id that was given away
	recordings []*Recording // by id
	active     atomic.Pointer[[]*Recording]

	recorded, dropped, refused atomic.Uint64
}

// settings are those of the node's Gateway.
type settings struct {
	maxBytes  int64
	bodyBytes int
	list      *redaction.List
	harmless  harmless // by this list
}

// NewRecorder makes a recorder that records nothing yet.
func NewRecorder(options Options) *Recorder {
	r := &Recorder{options: options, log: options.Log}
	r.settings.Store(&settings{})
	return r
}

// Configure makes these the settings, of exchanges that begin from then on. What is kept beyond them goes.
func (r *Recorder) Configure(message *nodev1.Recording, list *redaction.List) {
	s := &settings{maxBytes: int64(message.GetMaxBytes()), bodyBytes: int(message.GetBodyBytes()), list: list} //nolint:gosec // the controller bounds both
	s.harmless.limit = s.maxBytes / harmlessShare
	r.settings.Store(s)
	r.memory.limit.Store(s.maxBytes)
	r.kept.setLimit(s.maxBytes / 2)
}

// ---------------------------------------------------------------- recordings

// Recording is a wish to see exchanges, until it is stopped or its time is over.
type Recording struct {
	ID       uint64
	filter   Filter
	until    time.Time // zero: until it is stopped
	count    atomic.Uint64
	timer    *time.Timer
	follower *Follower // nil: the exchanges are kept alone
}

// Status is a recording as it stands.
type Status struct {
	ID       uint64     `json:"id"`
	Filter   Filter     `json:"filter"`
	Until    *time.Time `json:"until,omitempty"` // absent: until nobody follows it any more
	Recorded uint64     `json:"recorded"`
	Followed bool       `json:"followed"`
}

// Start records the exchanges that the filter fits, for a time of up to MaxTime.
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

// Stop ends a recording; false: there is none with this id. What it has recorded stays.
func (r *Recorder) Stop(id uint64) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	at := slices.IndexFunc(r.recordings, func(one *Recording) bool { return one.ID == id })
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

// publish makes the recordings those that exchanges are looked at for. Without one, exchanges do not know of the recorder.
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
	Recordings []Status `json:"recordings"` // that are under way
	Kept       int      `json:"kept"`       // exchanges
	KeptBytes  int64    `json:"keptBytes"`
	UsedBytes  int64    `json:"usedBytes"` // by exchanges under way
	MaxBytes   int64    `json:"maxBytes"`  // for all of it
	Recorded   uint64   `json:"recorded"`
	Evicted    uint64   `json:"evicted"` // exchanges that went for others
	Refused    uint64   `json:"refused"` // exchanges that were not looked at, for there was no memory
	Dropped    uint64   `json:"dropped"` // exchanges that a follower did not take fast enough
}

// Stats reads them.
func (r *Recorder) Stats() Stats {
	s := Stats{Recordings: []Status{}, UsedBytes: r.memory.used.Load(), MaxBytes: r.settings.Load().maxBytes,
		Recorded: r.recorded.Load(), Refused: r.refused.Load(), Dropped: r.dropped.Load()}
	s.Kept, s.KeptBytes, s.Evicted = r.kept.stats()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, one := range r.recordings {
		s.Recordings = append(s.Recordings, one.status())
	}
	slices.SortFunc(s.Recordings, func(a, b Status) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// ---------------------------------------------------------------- exchanges

// watch is exchange.Watch: it looks at exchanges that may fit a recording.
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

// record keeps an exchange, and tells those who follow.
func (r *Recorder) record(id string, text []byte, wanted []*Recording) {
	r.recorded.Add(1)
	text = slices.Clip(text)
	r.kept.add(entry{id, text}, r.settings.Load().maxBytes/2)
	for _, recording := range wanted {
		recording.count.Add(1)
		if recording.follower != nil {
			recording.follower.put(text)
		}
	}
}

// Kept are the exchanges that are kept and fit, the oldest first, as JSON.
func (r *Recorder) Kept(filter Filter) [][]byte {
	all := [][]byte{}
	for _, one := range r.kept.all() {
		if filter.ID != "" && filter.ID != one.id {
			continue
		}
		if e, err := decode(one.text); err == nil && filter.fits(e) {
			all = append(all, one.text)
		}
	}
	return all
}

// Forget lets all that is kept go, and returns how many exchanges that were.
func (r *Recorder) Forget() int { return r.kept.clear() }
