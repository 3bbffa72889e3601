package statedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
)

func open(t *testing.T) *statedir.Directory {
	t.Helper()
	directory, err := statedir.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return directory
}

func update(revision uint64) *nodev1.Update {
	return &nodev1.Update{Revision: revision, Bundles: []*nodev1.ApiBundle{{Api: "a", Digest: "1"}}}
}

func TestAFileIsReadAsItWasWrittenUntilItIsRemoved(t *testing.T) {
	directory := open(t)
	if got, err := directory.Read(statedir.LastGood); got != nil || err != nil {
		t.Errorf("expected nothing before the first write, got %v, %v", got, err)
	}
	for revision := range uint64(2) {
		if err := directory.Write(statedir.LastGood, update(revision)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := directory.Read(statedir.LastGood); err != nil || !proto.Equal(got, update(1)) {
		t.Errorf("expected the second update, got %v, %v", got, err)
	}
	for range 2 {
		if err := directory.Remove(statedir.LastGood); err != nil {
			t.Error(err)
		}
	}
	if got, err := directory.Read(statedir.LastGood); got != nil || err != nil {
		t.Errorf("expected nothing after the removal, got %v, %v", got, err)
	}
}

func TestAFailedWriteIsCountedAndLeavesTheEarlierFile(t *testing.T) {
	directory := open(t)
	if err := directory.Write(statedir.Pending, update(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(directory.Path(), statedir.Pending+".new")); err != nil {
		t.Fatal(err)
	}
	if err := directory.Write(statedir.Pending, update(2)); err == nil || directory.FailedWrites() != 1 {
		t.Errorf("expected one failed write, got %v and %d", err, directory.FailedWrites())
	}
	if got, err := directory.Read(statedir.Pending); err != nil || got.GetRevision() != 1 {
		t.Errorf("expected the earlier update, got %v, %v", got, err)
	}
}

func TestADamagedFileIsAnErrorUntilItIsRenamed(t *testing.T) {
	directory := open(t)
	path := filepath.Join(directory.Path(), statedir.LastGood)
	if err := os.WriteFile(path, []byte("x\ny"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := directory.Read(statedir.LastGood); err == nil {
		t.Error("expected an error")
	}
	directory.RenameDamaged(statedir.LastGood)
	if got, err := directory.Read(statedir.LastGood); got != nil || err != nil {
		t.Errorf("expected no file any more, got %v, %v", got, err)
	}
	if _, err := os.Stat(path + ".damaged"); errors.Is(err, os.ErrNotExist) {
		t.Error("expected the damaged file to be kept")
	}
}

func TestAGatewayCountsWhileTheFileThatItReplacedIsTheSame(t *testing.T) {
	directory := open(t)
	if err := directory.WriteGateway(&nodev1.Gateway{Digest: "controllers"}, "file-one"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"file-one": "controllers", "file-two": "", "": ""} {
		if got, err := directory.ReadGateway(file); err != nil || got.GetDigest() != want {
			t.Errorf("with the file %q: expected %q, got %v, %v", file, want, got, err)
		}
	}
}
