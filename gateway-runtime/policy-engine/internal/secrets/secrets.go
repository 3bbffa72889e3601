// Package secrets has the secrets that parameters of policies name: files in a folder of the operator's, one for each
// secret, which it polls for changes, and Secrets that a controller has sent. It knows files and JSON. Its errors and logs
// contain no values.
package secrets

import (
	"log/slog"
	"sync"
	"time"

	"gatewright.dev/policy-engine/internal/filelook"
)

// DefaultPeriod is the time between two checks of the files.
const DefaultPeriod = time.Second

// Ref identifies a secret by an API and the name that the API uses: "NAME" of a file, of which two APIs may have different ones,
// or "SECRET/KEY" of a Secret of the controller.
type Ref struct{ API, Name string }

// Stats count the secrets in use, and those whose file, or whose Secret of the controller, cannot be used now.
type Stats struct {
	InUse   int `json:"inUse"`
	Failing int `json:"failing"`
}

// Store has the secrets in use, and reports changes. If a file disappears or cannot be used, the earlier
// value stays, and the failure is logged once. Close it. It may be used from any goroutine.
type Store struct {
	folder  folder
	period  time.Duration
	log     *slog.Logger
	changes chan struct{}

	mutex   sync.Mutex
	entries map[Ref]*entry   // of files
	sent    map[string]Sent  // of the controller, by name
	asked   map[Ref]struct{} // references to these
	end     chan struct{}    // closed to end the polling goroutine; nil: not started
	done    chan struct{}
}

// entry is the state of one secret.
type entry struct {
	value       string
	held        bool   // value is valid
	fingerprint string // of its files at the last check
	read        time.Time
	err         error // why the files could not be used then
	logged      bool  // err was logged
	moving      bool  // the content was new at the last check, and counts once it is unchanged at the next
}

// NewStore makes a store of the files in a folder; "": no folder. Period 0 is DefaultPeriod.
func NewStore(directory string, period time.Duration, log *slog.Logger) *Store {
	if period <= 0 {
		period = DefaultPeriod
	}
	return &Store{folder: folder(directory), period: period, log: log, changes: make(chan struct{}, 1), entries: map[Ref]*entry{},
		sent: map[string]Sent{}, asked: map[Ref]struct{}{}}
}

// Changes yields after a secret has changed, or has become readable.
func (s *Store) Changes() <-chan struct{} { return s.changes }

// Get returns the last value of a secret, and watches its files from now on.
func (s *Store) Get(ref Ref) (string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if secret, key, ok := splitReference(ref.Name); ok {
		s.asked[ref] = struct{}{}
		return s.getSent(ref.Name, secret, key)
	}
	e := s.entries[ref]
	if e != nil && e.held {
		return e.value, nil
	}
	if e == nil {
		e = &entry{}
		s.entries[ref] = e
		s.start()
	}
	e.fingerprint, _ = s.folder.fingerprint(ref)
	e.read = time.Now()
	e.value, e.err = s.folder.read(ref, s.log)
	e.held = e.err == nil
	return e.value, e.err
}

// Keep drops all secrets except these, and reports whether values of the controller's were dropped.
func (s *Store) Keep(refs map[Ref]bool) (droppedSent bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for ref := range s.entries {
		if !refs[ref] {
			delete(s.entries, ref)
		}
	}
	for ref := range s.asked {
		if !refs[ref] {
			delete(s.asked, ref)
		}
	}
	return s.keepSent(refs)
}

// Stats returns the present counts.
func (s *Store) Stats() Stats {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stats := Stats{InUse: len(s.entries) + len(s.asked)}
	for ref := range s.asked {
		secret, key, _ := splitReference(ref.Name)
		if _, err := s.getSent(ref.Name, secret, key); err != nil || s.sent[secret].Unavailable != "" {
			stats.Failing++
		}
	}
	for _, e := range s.entries {
		if e.err != nil {
			stats.Failing++
		}
	}
	return stats
}

// Close stops the polling.
func (s *Store) Close() {
	s.mutex.Lock()
	end, done := s.end, s.done
	s.end = nil
	s.mutex.Unlock()
	if end != nil {
		close(end)
		<-done
	}
}

func (s *Store) start() {
	if s.end != nil {
		return
	}
	s.end, s.done = make(chan struct{}), make(chan struct{})
	go func(end <-chan struct{}, done chan<- struct{}) {
		defer close(done)
		ticker := time.NewTicker(s.period)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.checkAll(time.Now())
			case <-end:
				return
			}
		}
	}(s.end, s.done)
}

func (s *Store) checkAll(now time.Time) {
	s.mutex.Lock()
	refs := make([]Ref, 0, len(s.entries))
	for ref := range s.entries {
		refs = append(refs, ref)
	}
	s.mutex.Unlock()
	changed := false
	for _, ref := range refs {
		changed = s.check(ref, now) || changed
	}
	if changed {
		s.notify()
	}
}

func (s *Store) notify() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

// check reads a secret again if its files look different. A new value counts only if it is unchanged at the next check:
// the file may still be being written.
func (s *Store) check(ref Ref, now time.Time) (changed bool) {
	fingerprint, newest := s.folder.fingerprint(ref)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	e := s.entries[ref]
	if e == nil {
		return false
	}
	unchanged := fingerprint == e.fingerprint
	settled := e.read.Sub(newest) > filelook.Settled && !e.moving && (e.err == nil || e.logged || !e.held)
	if unchanged && settled {
		return false
	}
	value, err := s.folder.read(ref, s.log)
	e.fingerprint, e.read, e.moving = fingerprint, now, false
	switch {
	case err != nil:
		e.fail(ref, err, unchanged, s.log)
	case e.held && value == e.value:
		if e.logged {
			s.log.Info("a secret can be read again", "reference", ref.Name, "api", ref.API)
		}
		e.err, e.logged = nil, false
	case !unchanged:
		e.moving = true
	default:
		s.log.Info("a secret was read", "reference", ref.Name, "api", ref.API)
		e.value, e.held, e.err, e.logged = value, true, nil, false
		return true
	}
	return false
}

// fail records that a secret cannot be read. It logs nothing if there is no earlier value, since Get returned the error.
func (e *entry) fail(ref Ref, err error, unchanged bool, log *slog.Logger) {
	e.err = err
	if e.held && unchanged && !e.logged {
		e.logged = true
		log.Error("a secret cannot be read; the value that it had stays in use", "reference", ref.Name, "api", ref.API, "reason", err.Error())
	}
}
