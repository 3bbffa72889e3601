// Package secrets gives policies the secrets that their parameters name: files in a folder of the operator's, one each,
// looked at again and again. It knows files and JSON; values stand in no error of its and in no log.
package secrets

import (
	"log/slog"
	"sync"
	"time"

	"gatewright.dev/policy-engine/internal/filelook"
)

// DefaultPeriod is how often files are looked at.
const DefaultPeriod = time.Second

// Ref is a secret as an API names it. Two APIs may have different ones of one name.
type Ref struct{ API, Name string }

// Stats are how many secrets are in use, and of how many the file cannot be used now.
type Stats struct {
	InUse   int `json:"inUse"`
	Failing int `json:"failing"`
}

// Store holds the secrets that are asked for, and says when any has changed. A file that is gone or cannot be used leaves
// the value that was read before, and is logged once. Close it. It may be used from any goroutine.
type Store struct {
	folder  folder
	period  time.Duration
	log     *slog.Logger
	changes chan struct{}

	mutex   sync.Mutex
	entries map[Ref]*entry
	end     chan struct{} // closed to end the goroutine that looks; nil: there is none yet
	done    chan struct{}
}

// entry is what is known of one secret.
type entry struct {
	value  string
	held   bool   // there is a value
	looks  string // of its files at the last look
	read   time.Time
	err    error // why they could not be used then
	logged bool  // that was said
	moving bool  // what they held then was new, and is taken once it looks the same again
}

// NewStore makes a store of the files in a folder; "": there is none. Period 0 is DefaultPeriod.
func NewStore(directory string, period time.Duration, log *slog.Logger) *Store {
	if period <= 0 {
		period = DefaultPeriod
	}
	return &Store{folder: folder(directory), period: period, log: log, changes: make(chan struct{}, 1), entries: map[Ref]*entry{}}
}

// Changes yields once some secret has changed, or has come that could not be read before.
func (s *Store) Changes() <-chan struct{} { return s.changes }

// Get returns a secret, as it was read last, and looks at its files from now on.
func (s *Store) Get(ref Ref) (string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	known := s.entries[ref]
	if known != nil && known.held {
		return known.value, nil
	}
	if known == nil {
		known = &entry{}
		s.entries[ref] = known
		s.start()
	}
	known.looks, _ = s.folder.looks(ref)
	known.read = time.Now()
	known.value, known.err = s.folder.read(ref, s.log)
	known.held = known.err == nil
	return known.value, known.err
}

// Keep forgets all secrets but these.
func (s *Store) Keep(refs map[Ref]bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for ref := range s.entries {
		if !refs[ref] {
			delete(s.entries, ref)
		}
	}
}

// Stats returns the numbers as they are now.
func (s *Store) Stats() Stats {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	stats := Stats{InUse: len(s.entries)}
	for _, one := range s.entries {
		if one.err != nil {
			stats.Failing++
		}
	}
	return stats
}

// Close ends it.
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
				s.look(time.Now())
			case <-end:
				return
			}
		}
	}(s.end, s.done)
}

func (s *Store) look(now time.Time) {
	s.mutex.Lock()
	refs := make([]Ref, 0, len(s.entries))
	for ref := range s.entries {
		refs = append(refs, ref)
	}
	s.mutex.Unlock()
	changed := false
	for _, ref := range refs {
		changed = s.lookAt(ref, now) || changed
	}
	if changed {
		select {
		case s.changes <- struct{}{}:
		default:
		}
	}
}

// lookAt reads a secret again if its files look different, and takes what it reads once it looks the same at two looks:
// what is being written is not taken.
func (s *Store) lookAt(ref Ref, now time.Time) (changed bool) {
	looks, newest := s.folder.looks(ref)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	known := s.entries[ref]
	if known == nil {
		return false
	}
	same := looks == known.looks
	quiet := known.read.Sub(newest) > filelook.Settled && !known.moving && (known.err == nil || known.logged || !known.held)
	if same && quiet {
		return false
	}
	value, err := s.folder.read(ref, s.log)
	known.looks, known.read, known.moving = looks, now, false
	switch {
	case err != nil:
		known.fail(ref, err, same, s.log)
	case known.held && value == known.value:
		if known.logged {
			s.log.Info("a secret can be read again", "reference", ref.Name, "api", ref.API)
		}
		known.err, known.logged = nil, false
	case !same:
		known.moving = true
	default:
		s.log.Info("a secret was read", "reference", ref.Name, "api", ref.API)
		known.value, known.held, known.err, known.logged = value, true, nil, false
		return true
	}
	return false
}

// fail notes that a secret cannot be read. Where none was ever read, whoever asks for it is told instead.
func (e *entry) fail(ref Ref, err error, same bool, log *slog.Logger) {
	e.err = err
	if e.held && same && !e.logged {
		e.logged = true
		log.Error("a secret cannot be read; the value that it had stays in use", "reference", ref.Name, "api", ref.API, "reason", err.Error())
	}
}
