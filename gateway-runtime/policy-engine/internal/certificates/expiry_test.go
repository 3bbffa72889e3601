package certificates_test

import (
	"context"
	"crypto/elliptic"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
)

const (
	day       = 24 * time.Hour
	lookEvery = 6 * time.Hour

	endsSoon = `WARN certificate ends soon: replace its file`
	ends     = `ERROR certificate is about to end: replace its file`
	expired  = `ERROR certificate has expired: replace its file`
	changed  = `INFO certificate files have changed, and are served`
)

// lines are the levels and messages of the log.
type lines struct {
	slog.Handler

	mutex  sync.Mutex
	logged []string
}

func (l *lines) Handle(_ context.Context, record slog.Record) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.logged = append(l.logged, record.Level.String()+" "+record.Message)
	return nil
}

func (l *lines) take() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	taken := l.logged
	l.logged = nil
	return taken
}

// ending is a certificate under watch, in a synctest bubble: time passes as the test says.
type ending struct {
	t       *testing.T
	folder  string
	ca      *certificatestest.Authority
	watcher *certificates.Watcher
	lines   *lines
	renewed bool
}

func newEnding(t *testing.T) *ending {
	t.Helper()
	e := &ending{t: t, folder: t.TempDir(), ca: certificatestest.NewAuthority(t, "ca")}
	e.lines = &lines{Handler: slog.NewTextHandler(io.Discard, nil)}
	e.watcher = certificates.NewWatcher(lookEvery, slog.New(e.lines))
	t.Cleanup(e.watcher.Close)
	return e
}

// issue writes a certificate that expires after a time, and its key, while no watcher runs.
func (e *ending) issue(left time.Duration) {
	e.t.Helper()
	issued := e.ca.IssueFor("web.example", certificatestest.Key(e.t, elliptic.P256()), time.Now().Add(left))
	certificatestest.Write(e.t, e.folder, map[string][]byte{"chain": issued.Chain, "key": issued.Key})
}

// watch begins to watch the certificate, as when a Gateway is applied.
func (e *ending) watch() {
	e.t.Helper()
	sources := oneCertificate(filepath.Join(e.folder, "chain"), filepath.Join(e.folder, "key"))
	for name, source := range sources.Certificates {
		source.Renewed = e.renewed
		sources.Certificates[name] = source
	}
	held, failures := certificates.Load(sources)
	if err := failures.Err(); err != nil {
		e.t.Fatal(err)
	}
	e.watcher.Watch(sources, held, failures)
	synctest.Wait()
}

// pass lets time pass, in which the watcher checks the files.
func (e *ending) pass(long time.Duration) {
	time.Sleep(long)
	synctest.Wait()
}

// logged expects these lines since it was last called, and no others.
func (e *ending) logged(expected ...string) {
	e.t.Helper()
	if got := e.lines.take(); !slices.Equal(got, expected) {
		e.t.Errorf("expected the lines\n%s\ngot\n%s", strings.Join(expected, "\n"), strings.Join(got, "\n"))
	}
}

func TestTheEndOfACertificateIsLoggedOnceForEachStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.issue(365 * day)
		e.watch()
		e.pass(334 * day)
		e.logged()
		e.pass(2 * day)
		e.logged(endsSoon)
		e.pass(20 * day)
		e.logged()
		e.pass(3 * day)
		e.logged(ends)
		e.pass(7 * day)
		e.logged(expired)
		e.pass(7 * day)
		e.logged()
	})
}

func TestAShortLivedCertificateIsWarnedOfByShareOfItsLifetime(t *testing.T) {
	for _, days := range []time.Duration{6, 30, 45} { // by ACME, of the tutorial, by ACME in the years to come
		synctest.Test(t, func(t *testing.T) {
			e := newEnding(t)
			life := days * day
			e.issue(life)
			e.watch()
			e.pass(life*3/4 - lookEvery)
			e.logged()
			e.pass(2 * lookEvery)
			e.logged(endsSoon)
			e.pass(life / 4)
			e.logged(ends, expired)
		})
	}
}

func TestACertificateThatIsRenewedInTimeIsNeverWarnedOf(t *testing.T) {
	begins := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for hours := time.Duration(1); hours < 24*400; hours += 7 {
		life := hours * time.Hour
		warnings := certificates.Validity{Begins: begins, Ends: begins.Add(life)}.Warnings()
		renewed := begins.Add(life * 2 / 3)
		if !renewed.Before(warnings.Soon) || !warnings.Soon.Before(warnings.Urgent) || warnings.Last.Before(warnings.Urgent) || !warnings.Last.Before(warnings.Ends) {
			t.Fatalf("expected renewal (%s), soon, urgent, last and the end one after the other, got %+v", renewed, warnings)
		}
	}
}

func TestTheEndOfACertificateThatACMERenewsAsksForNoReplacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.renewed = true
		e.issue(6 * day)
		e.watch()
		e.pass(5 * day)
		e.logged(`WARN certificate ends soon: ACME has not renewed it yet, gatewright status says why`)
	})
}

func TestAGatewayThatIsAppliedAgainLogsNoEndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.issue(6 * day)
		e.watch()
		e.pass(6*day - 2*lookEvery)
		e.logged(endsSoon, ends)
		e.watch()
		e.pass(lookEvery)
		e.logged()
		e.watcher.Watch(certificates.Sources{}, certificates.Contents{}, nil)
		e.watch()
		e.logged()
	})
}

func TestTheEndOfACertificateInThePlaceOfAnotherIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.issue(6 * day)
		e.watch()
		e.pass(6*day - lookEvery)
		e.logged(endsSoon, ends)
		e.issue(lookEvery)
		e.pass(lookEvery)
		e.logged(changed, expired)
		e.issue(60 * day)
		e.pass(lookEvery)
		e.logged(changed)
		e.pass(2 * lookEvery)
		e.logged()
	})
}

func TestAHalfReplacedCertificateLogsItsEndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.issue(12 * day)
		e.watch()
		e.pass(11 * day)
		e.logged(endsSoon, ends)
		whole, err := os.ReadFile(filepath.Join(e.folder, "key"))
		if err != nil {
			t.Fatal(err)
		}
		other := e.ca.Issue("web.example")
		certificatestest.Write(t, e.folder, map[string][]byte{"key": other.Key})
		e.pass(lookEvery)
		e.logged()
		certificatestest.Write(t, e.folder, map[string][]byte{"key": whole})
		e.pass(2 * lookEvery)
		e.logged()
	})
}
