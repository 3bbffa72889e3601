package certificates

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/certificates/certificatestest"
)

// TestMismatchedFilesAreLoggedAtTheSecondCheck: at the first check one of them may not be written yet.
func TestMismatchedFilesAreLoggedAtTheSecondCheck(t *testing.T) {
	ca, folder := certificatestest.NewAuthority(t, "ca"), t.TempDir()
	first, next := ca.Issue("first.example"), ca.Issue("next.example")
	paths := certificatestest.Write(t, folder, map[string][]byte{"chain": first.Chain, "key": first.Key})
	sources := Sources{Certificates: map[string]Certificate{"web": {File: paths["chain"], KeyFile: paths["key"]}}}
	held, failures := Load(sources)
	if err := failures.Err(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	w := &watch{sources: sources, held: held, failures: failures, marks: map[Source]mark{}, log: log, expiry: &expiry{}}
	check := func(when string, count int, changed bool) {
		t.Helper()
		if got := w.check(time.Now()); got != changed || strings.Count(text.String(), "cannot be used") != count {
			t.Fatalf("%s: expected %d failures to be logged, and changed %t, got %t:\n%s", when, count, changed, got, &text)
		}
	}
	check("before", 0, false)
	certificatestest.Write(t, folder, map[string][]byte{"chain": next.Chain})
	check("with a key of before", 0, false)
	check("still so", 1, true)
	check("and still", 1, false)
	certificatestest.Write(t, folder, map[string][]byte{"key": next.Key})
	check("with both", 1, true)
}
