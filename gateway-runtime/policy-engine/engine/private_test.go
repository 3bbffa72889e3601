package engine

import (
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheProcessKeepsItsMemoryToItself(t *testing.T) {
	defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }()
	keepPrivate(slog.New(slog.DiscardHandler))
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("expected that others of this user cannot look into it, got %d, %v", dumpable, err)
	}
}
