package certificates_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a log that can be read while it is written.
type log struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *log) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

func (l *log) count(text string) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return strings.Count(l.text.String(), text)
}

// watched is a watched folder with the files chain and key.
type watched struct {
	t       *testing.T
	folder  string
	ca      *certificatestest.Authority
	watcher *certificates.Watcher
	log     *log
}

func watch(t *testing.T, folder string) *watched {
	t.Helper()
	w := &watched{t: t, folder: folder, ca: certificatestest.NewAuthority(t, "ca"), log: &log{}}
	w.watcher = certificates.NewWatcher(10*time.Millisecond, slog.New(slog.NewTextHandler(w.log, nil)))
	t.Cleanup(w.watcher.Close)
	return w
}

func (w *watched) begin() {
	w.t.Helper()
	sources := oneCertificate(filepath.Join(w.folder, "chain"), filepath.Join(w.folder, "key"))
	held, failures := certificates.Load(sources)
	if err := failures.Err(); err != nil {
		w.t.Fatal(err)
	}
	w.watcher.Watch(sources, held, failures)
}

func (w *watched) write(folder string, issued certificatestest.Issued) {
	certificatestest.Write(w.t, folder, map[string][]byte{"chain": issued.Chain, "key": issued.Key})
}

func (w *watched) becomes(issued certificatestest.Issued) {
	w.t.Helper()
	for {
		select {
		case change := <-w.watcher.Changes():
			pair := change.Contents.Certificates["web"]
			if bytes.Equal(pair.Chain, issued.Chain) && bytes.Equal(pair.Key, issued.Key) && len(change.Failures) == 0 {
				return
			}
		case <-time.After(10 * time.Second):
			w.t.Fatal("no change within 10 s")
		}
	}
}

func (w *watched) staysFor(limit time.Duration) {
	w.t.Helper()
	select {
	case change := <-w.watcher.Changes():
		w.t.Fatalf("expected what was before to stay, got %+v", change)
	case <-time.After(limit):
	}
}

// fails waits until the files are reported as unusable, for such a reason, with their earlier content.
func (w *watched) fails(before certificatestest.Issued, reason string) {
	w.t.Helper()
	select {
	case change := <-w.watcher.Changes():
		reported := change.Failures[certificates.Source{Kind: certificates.KindCertificate, Name: "web"}]
		if held := change.Contents.Certificates["web"]; !bytes.Equal(held.Chain, before.Chain) || !strings.Contains(reported, reason) {
			w.t.Fatalf("expected the one before and %q, got %q beside a certificate that ends %s", reason, reported, held.Validity.Ends)
		}
	case <-time.After(10 * time.Second):
		w.t.Fatal("no change was reported within 10 s")
	}
}

func TestFilesMayBeReplacedInAnyWay(t *testing.T) {
	for name, replace := range map[string]func(w *watched, next certificatestest.Issued){
		"written in place": func(w *watched, next certificatestest.Issued) { w.write(w.folder, next) },
		"renamed": func(w *watched, next certificatestest.Issued) {
			aside := t.TempDir()
			w.write(aside, next)
			for _, file := range []string{"chain", "key"} {
				if err := os.Rename(filepath.Join(aside, file), filepath.Join(w.folder, file)); err != nil {
					t.Fatal(err)
				}
			}
		},
		"removed and written": func(w *watched, next certificatestest.Issued) {
			_, _ = os.Remove(filepath.Join(w.folder, "key")), os.Remove(filepath.Join(w.folder, "chain"))
			time.Sleep(50 * time.Millisecond)
			w.write(w.folder, next)
		},
		"with the size and the time of the old one": func(w *watched, next certificatestest.Issued) {
			found, err := os.Stat(filepath.Join(w.folder, "key"))
			if err != nil {
				t.Fatal(err)
			}
			w.write(w.folder, next)
			_ = os.Chtimes(filepath.Join(w.folder, "key"), found.ModTime(), found.ModTime())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, t.TempDir())
			w.write(w.folder, w.ca.Issue("first.example"))
			w.begin()
			for range 2 {
				next := w.ca.Issue("next.example")
				replace(w, next)
				w.becomes(next)
			}
		})
	}
}

// Kubernetes mounts a Secret as links to ..data/NAME, and ..data as a link to a folder, of which it renames another one
// over it.
func TestAKubernetesSecretThatChanges(t *testing.T) {
	w := watch(t, t.TempDir())
	publish := func(version string, issued certificatestest.Issued) {
		folder := filepath.Join(w.folder, version)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		w.write(folder, issued)
		if err := os.Symlink(version, filepath.Join(w.folder, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(w.folder, "..data_tmp"), filepath.Join(w.folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", w.ca.Issue("first.example"))
	for _, file := range []string{"chain", "key"} {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(w.folder, file)); err != nil {
			t.Fatal(err)
		}
	}
	w.begin()
	second := w.ca.Issue("second.example")
	publish("..2", second)
	w.becomes(second)
}

func TestAHalfWrittenPairIsNeitherServedNorLoggedAtOnce(t *testing.T) {
	w := watch(t, t.TempDir())
	first := w.ca.Issue("first.example")
	w.write(w.folder, first)
	w.begin()
	next := w.ca.Issue("next.example")
	certificatestest.Write(t, w.folder, map[string][]byte{"chain": next.Chain})
	w.fails(first, filepath.Join(w.folder, "key"))
	w.staysFor(200 * time.Millisecond)
	if reported := w.log.count("cannot be used"); reported != 1 {
		t.Errorf("expected it to be logged once, got %d times:\n%s", reported, &w.log.text)
	}
	if w.log.count(filepath.Join(w.folder, "key")) == 0 {
		t.Errorf("expected the file's name, got\n%s", &w.log.text)
	}
	certificatestest.Write(t, w.folder, map[string][]byte{"key": next.Key})
	w.becomes(next)
}

func TestTheRecoveryOfUnchangedFilesIsReported(t *testing.T) {
	w := watch(t, t.TempDir())
	first := w.ca.Issue("first.example")
	w.write(w.folder, first)
	w.begin()
	certificatestest.Write(t, w.folder, map[string][]byte{"chain": []byte("not yet")})
	w.fails(first, filepath.Join(w.folder, "chain"))
	w.write(w.folder, first)
	w.becomes(first)
	if w.log.count("cannot be used") != 1 || w.log.count("can be used again") != 1 {
		t.Errorf("got\n%s", &w.log.text)
	}
	w.staysFor(50 * time.Millisecond)
}

func TestAMissingFileIsServedOnceItExists(t *testing.T) {
	w := watch(t, t.TempDir())
	sources := oneCertificate(filepath.Join(w.folder, "chain"), filepath.Join(w.folder, "key"))
	held, failures := certificates.Load(sources)
	w.watcher.Watch(sources, held, failures)
	w.staysFor(50 * time.Millisecond)
	late := w.ca.Issue("late.example")
	w.write(w.folder, late)
	w.becomes(late)
}

func TestUnwatchedFilesAreReleased(t *testing.T) {
	w := watch(t, t.TempDir())
	w.write(w.folder, w.ca.Issue("first.example"))
	w.begin()
	w.watcher.Watch(certificates.Sources{}, certificates.Contents{}, nil)
	w.write(w.folder, w.ca.Issue("second.example"))
	w.staysFor(100 * time.Millisecond)
}
