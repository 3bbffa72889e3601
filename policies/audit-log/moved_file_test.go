package auditlog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// moved is a policy whose file was moved away, with a folder in its place, in a synctest bubble, whose time the
// test controls.
type moved struct {
	t      *testing.T
	policy v1alpha.Policy
	path   string
}

func newMoved(t *testing.T, onFailure string) *moved {
	t.Helper()
	folder := t.TempDir()
	m := &moved{t, newPolicy(t, folder, `"begin": true, "onFailure": "`+onFailure+`"`), filepath.Join(folder, "audit.jsonl")}
	if err := os.Rename(m.path, m.path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.path, 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}

// begins reports whether an exchange may go upstream.
func (m *moved) begins() bool {
	m.t.Helper()
	action, err := m.policy.OnRequest(m.t.Context(), request())
	if action != nil || err != nil && !strings.Contains(err.Error(), "a line of the audit log could not be written: open "+m.path+": is a directory") {
		m.t.Fatalf("expected no action and no other failure, got %v, %v", action, err)
	}
	return err == nil
}

func TestNoExchangeBeginsWhileItsFileCannotBeCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoved(t, "refuse")
		time.Sleep(time.Second - time.Nanosecond)
		if !m.begins() {
			t.Error("expected the line to go to the file that was moved away, until the next check")
		}
		time.Sleep(time.Nanosecond)
		for range 3 {
			if m.begins() {
				t.Error("expected no exchange to begin, got one")
			}
			time.Sleep(time.Second / 3)
		}
		if entries := lines(t, m.path+".1"); len(entries) != 1 {
			t.Errorf("expected the earlier line in the file that was moved away, got %v", entries)
		}
		if err := os.Remove(m.path); err != nil {
			t.Fatal(err)
		}
		if !m.begins() {
			t.Error("expected an exchange to begin as soon as its file can be created")
		}
		if entries := lines(t, m.path); len(entries) != 1 {
			t.Errorf("expected its line in the new file, got %v", entries)
		}
	})
}

func TestExchangesGoOnWithoutLinesWhileTheirFileCannotBeCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoved(t, "continue")
		time.Sleep(time.Second)
		for range 3 {
			if !m.begins() {
				t.Error("expected the exchange to go on")
			}
		}
		if entries := lines(t, m.path+".1"); len(entries) != 0 {
			t.Errorf("expected no line in the file that was moved away, got %v", entries)
		}
	})
}
