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

// DefaultPeriod is the time between two checks of the files.
const DefaultPeriod = time.Second

// Watcher checks files periodically, and reports when their content has changed, or whether it can be used. After a change that
// cannot be used, the earlier content stays, and the failure is logged once; a file that is being written is decided by the
// next check. Close it.
//
// It polls the files instead of subscribing to them, which detects any way of replacing them, including symbolic links on the
// path and network file systems. No goroutine runs while there is nothing to watch.
type Watcher struct {
	period  time.Duration
	log     *slog.Logger
	changes chan Change

	mutex  sync.Mutex
	end    chan struct{} // closed to end the polling goroutine; nil: none runs
	done   chan struct{}
	expiry expiry // of the polling goroutine
}

// Change is the state of all files after some have changed.
type Change struct {
	Contents Contents
	Failures Failures // files that cannot be used: Contents has their earlier content, if any
}

// NewWatcher makes a watcher; period 0 is DefaultPeriod.
func NewWatcher(period time.Duration, log *slog.Logger) *Watcher {
	if period <= 0 {
		period = DefaultPeriod
	}
	return &Watcher{period: period, log: log, changes: make(chan Change)}
}

// Changes yields the state of the files after a change.
func (w *Watcher) Changes() <-chan Change { return w.changes }

// Watch replaces the files that are watched. contents is what was read of them, failures the files that could not be used.
func (w *Watcher) Watch(sources Sources, contents Contents, failures Failures) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.stop()
	if sources.Empty() {
		return
	}
	w.end, w.done = make(chan struct{}), make(chan struct{})
	watch := &watch{sources: sources, held: contents.clone(), failures: maps.Clone(failures), marks: map[Source]mark{}, log: w.log, expiry: &w.expiry}
	if watch.failures == nil {
		watch.failures = Failures{}
	}
	go func(end <-chan struct{}, done chan<- struct{}) {
		defer close(done)
		w.run(end, watch)
	}(w.end, w.done)
}

// Close stops watching.
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
	var out chan Change // nil: nothing to report
	for {
		if watch.check(time.Now()) {
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

// watch is the known state of one set of files.
type watch struct {
	sources  Sources
	held     Contents
	failures Failures
	marks    map[Source]mark
	log      *slog.Logger
	expiry   *expiry
}

// mark is the state of a source's files at the last check.
type mark struct {
	files  string
	failed bool // the content cannot be used
	logged bool // and the failure was logged
	read   time.Time
}

// check reads the sources again whose files look different, and reports whether the content of one has changed, or whether it
// can be used.
func (w *watch) check(now time.Time) (changed bool) {
	for _, name := range slices.Sorted(maps.Keys(w.sources.Certificates)) {
		source := w.sources.Certificates[name]
		changed = reread(w, Source{KindCertificate, name}, source.files(), source.load, w.held.Certificates, Pair.same, now) || changed
	}
	for _, name := range slices.Sorted(maps.Keys(w.sources.Authorities)) {
		source := w.sources.Authorities[name]
		changed = reread(w, Source{KindAuthority, name}, source.files(), source.load, w.held.Authorities, Trust.same, now) || changed
	}
	w.expiry.log(w.sources, w.held, w.log, now)
	return changed
}

// reread reads one source again if its files look different from the last check, or may have been written since without a trace.
func reread[C any](
	w *watch, source Source, files []string, load func() (C, error), contents map[string]C, same func(a, b C) bool, now time.Time,
) (changed bool) {
	previous := w.marks[source]
	fingerprint, newest := fingerprintOf(files)
	if fingerprint == previous.files && previous.read.Sub(newest) > filelook.Settled && (!previous.failed || previous.logged) {
		return false
	}
	content, err := load()
	mark := mark{files: fingerprint, failed: err != nil, read: now}
	defer func() { w.marks[source] = mark }()
	reason, failing := w.failures[source]
	if err != nil {
		// A certificate and its key are replaced one after the other, so a failure counts only at the second check of the same files.
		if mark.logged = previous.failed && previous.files == fingerprint; !mark.logged || (failing && reason == err.Error()) {
			return false
		}
		w.failures[source] = err.Error()
		w.log.Error("certificate files cannot be used; their previous content is still served", source.Kind, source.Name, "reason", err.Error())
		return true
	}
	delete(w.failures, source)
	if old, ok := contents[source.Name]; ok && same(old, content) {
		if failing {
			w.log.Info("certificate files can be used again", source.Kind, source.Name)
		}
		return failing
	}
	contents[source.Name] = content
	w.log.Info("certificate files have changed, and are served", source.Kind, source.Name, "files", files)
	return true
}

// fingerprintOf returns what identifies the state of files from outside, and the time of the newest change.
func fingerprintOf(files []string) (fingerprint string, newest time.Time) {
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			fingerprint += fmt.Sprintf("%v;", errors.Is(err, fs.ErrNotExist))
			continue
		}
		part, changed := filelook.Of(info)
		if changed.After(newest) {
			newest = changed
		}
		fingerprint += part
	}
	return fingerprint, newest
}
