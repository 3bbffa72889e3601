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

	in30Days = `WARN certificate ends in less than 30 days: replace its file`
	in7Days  = `ERROR certificate ends in less than 7 days: replace its file`
	expired  = `ERROR certificate has expired: replace its file`
	changed  = `INFO certificate files have changed, and are served`
)

// lines are the level and message of what was logged.
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

// ending is a certificate that a watcher looks at, in a synctest bubble: time passes as the test says.
type ending struct {
	t       *testing.T
	folder  string
	ca      *certificatestest.Authority
	watcher *certificates.Watcher
	lines   *lines
}

func newEnding(t *testing.T) *ending {
	t.Helper()
	e := &ending{t: t, folder: t.TempDir(), ca: certificatestest.NewAuthority(t, "ca")}
	e.lines = &lines{Handler: slog.NewTextHandler(io.Discard, nil)}
	e.watcher = certificates.NewWatcher(lookEvery, slog.New(e.lines))
	t.Cleanup(e.watcher.Close)
	return e
}

// issue writes a certificate that ends so much later, and its key, while nothing looks.
func (e *ending) issue(left time.Duration) {
	e.t.Helper()
	issued := e.ca.IssueFor("web.example", certificatestest.Key(e.t, elliptic.P256()), time.Now().Add(left))
	certificatestest.Write(e.t, e.folder, map[string][]byte{"chain": issued.Chain, "key": issued.Key})
}

// watch begins to look at the certificate, as when a Gateway is applied.
func (e *ending) watch() {
	e.t.Helper()
	sources := oneCertificate(filepath.Join(e.folder, "chain"), filepath.Join(e.folder, "key"))
	held, failures := certificates.Load(sources)
	if err := failures.Err(); err != nil {
		e.t.Fatal(err)
	}
	e.watcher.Watch(sources, held, failures)
	synctest.Wait()
}

// pass lets time pass, and with it looks.
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
		e.issue(31 * day)
		e.watch()
		e.logged()
		e.pass(2 * day)
		e.logged(in30Days)
		e.pass(20 * day)
		e.logged()
		e.pass(3 * day)
		e.logged(in7Days)
		e.pass(7 * day)
		e.logged(expired)
		e.pass(7 * day)
		e.logged()
	})
}

func TestAGatewayThatIsAppliedAgainLogsNoEndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.issue(6 * day)
		e.watch()
		e.logged(in7Days)
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
		e.logged(in7Days)
		e.issue(5 * day)
		e.pass(lookEvery)
		e.logged(changed, in7Days)
		e.issue(60 * day)
		e.pass(lookEvery)
		e.logged(changed)
		e.pass(2 * lookEvery)
		e.logged()
	})
}

func TestACertificateThatWasReplacedHalfLogsItsEndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnding(t)
		e.issue(6 * day)
		e.watch()
		e.logged(in7Days)
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
