package certificates

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"gatewright.dev/policy-engine/internal/filelook"
)

// DefaultPeriod is how often files are looked at.
const DefaultPeriod = time.Second

// Watcher looks at files, and says when what they hold has changed, or whether it can be used. A change that cannot be used
// leaves what was read before, and is logged once; of a file that is being written, the next look decides. Close it.
//
// Files are looked at and not subscribed to: so any way of replacing them is seen, symbolic links on the way and file
// systems of a network too. There is no goroutine while there is nothing to look at.
type Watcher struct {
	period  time.Duration
	log     *slog.Logger
	changes chan Change

	mutex  sync.Mutex
	end    chan struct{} // closed to end the goroutine that looks; nil: there is none
	done   chan struct{}
	expiry expiry // of the goroutine that looks
}

// Change is all that is known of the files after some have changed.
type Change struct {
	Contents Contents
	Failures Failures // files that cannot be used: of those, the contents are what they held before, if anything
}

// NewWatcher makes a watcher; period 0 is DefaultPeriod.
func NewWatcher(period time.Duration, log *slog.Logger) *Watcher {
	if period <= 0 {
		period = DefaultPeriod
	}
	return &Watcher{period: period, log: log, changes: make(chan Change)}
}

// Changes yields what is known after some of it has changed.
func (w *Watcher) Changes() <-chan Change { return w.changes }

// Watch looks at these files from now on, and at no others. held is what was read of them, failures what could not be.
func (w *Watcher) Watch(sources Sources, held Contents, failures Failures) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.stop()
	if sources.Empty() {
		return
	}
	w.end, w.done = make(chan struct{}), make(chan struct{})
	watch := &watch{sources: sources, held: held.clone(), failures: maps.Clone(failures), marks: map[Source]mark{}, log: w.log, expiry: &w.expiry}
	if watch.failures == nil {
		watch.failures = Failures{}
	}
	go func(end <-chan struct{}, done chan<- struct{}) {
		defer close(done)
		w.run(end, watch)
	}(w.end, w.done)
}

// Close ends it.
func (w *Watcher) Close() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.stop()
}

func (w *Watcher) stop() {
	if w.end != nil {
		close(w.end)
		<-w.done
		w.end = nil
	}
}

func (w *Watcher) run(end <-chan struct{}, watch *watch) {
	ticker := time.NewTicker(w.period)
	defer ticker.Stop()
	var out chan Change // nil: nothing is to be told
	for {
		if watch.look(time.Now()) {
			out = w.changes
		}
		for waiting := true; waiting; {
			select {
			case out <- Change{watch.held.clone(), maps.Clone(watch.failures)}:
				out = nil
			case <-ticker.C:
				waiting = false
			case <-end:
				return
			}
		}
	}
}

// watch is what one set of files is known to hold.
type watch struct {
	sources  Sources
	held     Contents
	failures Failures
	marks    map[Source]mark
	log      *slog.Logger
	expiry   *expiry
}

// mark is what a source's files looked like at the last look.
type mark struct {
	files  string
	failed bool // what they hold cannot be used
	logged bool // and that was logged
	read   time.Time
}

// look reads again what looks different, and reports whether something of it is, or can be used now and could not before, or
// the other way round.
func (w *watch) look(now time.Time) (changed bool) {
	for _, name := range slices.Sorted(maps.Keys(w.sources.Certificates)) {
		source := w.sources.Certificates[name]
		changed = again(w, Source{KindCertificate, name}, source.files(), source.load, w.held.Certificates, Pair.same, now) || changed
	}
	for _, name := range slices.Sorted(maps.Keys(w.sources.Authorities)) {
		source := w.sources.Authorities[name]
		changed = again(w, Source{KindAuthority, name}, source.files(), source.load, w.held.Authorities, Trust.same, now) || changed
	}
	w.expiry.log(w.sources, w.held, w.log, now)
	return changed
}

// again reads one source again if its files look different from the last look, or may have been written since unseen.
func again[C any](
	w *watch, source Source, files []string, load func() (C, error), held map[string]C, same func(a, b C) bool, now time.Time,
) (changed bool) {
	before := w.marks[source]
	looks, newest := lookOf(files)
	if looks == before.files && before.read.Sub(newest) > filelook.Settled && (!before.failed || before.logged) {
		return false
	}
	content, err := load()
	mark := mark{files: looks, failed: err != nil, read: now}
	defer func() { w.marks[source] = mark }()
	reason, failing := w.failures[source]
	if err != nil {
		// Files that are replaced one after the other do not fit for a moment: what is the same at the next look is meant.
		if mark.logged = before.failed && before.files == looks; !mark.logged || (failing && reason == err.Error()) {
			return false
		}
		w.failures[source] = err.Error()
		w.log.Error("certificate files cannot be used; what they held before goes on being served", source.Kind, source.Name, "reason", err.Error())
		return true
	}
	delete(w.failures, source)
	if old, has := held[source.Name]; has && same(old, content) {
		if failing {
			w.log.Info("certificate files can be used again", source.Kind, source.Name)
		}
		return failing
	}
	held[source.Name] = content
	w.log.Info("certificate files have changed, and are served", source.Kind, source.Name, "files", files)
	return true
}

// lookOf is what files look like from outside, and the time of the newest change.
func lookOf(files []string) (looks string, newest time.Time) {
	for _, file := range files {
		found, err := os.Stat(file)
		if err != nil {
			looks += fmt.Sprintf("%v;", errors.Is(err, fs.ErrNotExist))
			continue
		}
		one, changed := filelook.Of(found)
		if changed.After(newest) {
			newest = changed
		}
		looks += one
	}
	return looks, newest
}
