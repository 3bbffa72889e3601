package statedir_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/property"
)

const journalName = statedir.LastGood + ".journal"

type fails interface {
	Helper()
	Fatalf(format string, args ...any)
}

func pack(t fails, api, digest string, size int) *statedir.Bundle {
	t.Helper()
	// Random bytes would need a seed; these do not compress well either.
	text := make([]byte, size)
	for n := range text {
		text[n] = byte(n * n >> 3 * len(digest))
	}
	packed, err := statedir.Pack(&nodev1.ApiBundle{Api: api, Digest: digest, Context: "/" + api, Routes: [][]byte{text}})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return packed
}

// read returns what another engine reads of a state directory: API and digest of each bundle.
func read(t fails, path string) (revision uint64, bundles []string) {
	t.Helper()
	directory, err := statedir.Open(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	state, err := directory.Read(statedir.LastGood)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, bundle := range state.GetBundles() {
		bundles = append(bundles, bundle.GetApi()+" "+bundle.GetDigest())
	}
	return state.GetRevision(), bundles
}

func listed(bundles map[string]*statedir.Bundle) (list []string) {
	for _, api := range slices.Sorted(maps.Keys(bundles)) {
		list = append(list, api+" "+bundles[api].Digest)
	}
	return list
}

// Whatever is stored, an engine that starts reads the last state; after a stop in the middle of a write, the last one or the one
// before it.
func TestTheLastGoodStateIsReadAsItWasStored(t *testing.T) {
	property.Check(t, func(rt *rapid.T) {
		path, err := os.MkdirTemp(t.TempDir(), "state")
		if err != nil {
			rt.Fatal(err)
		}
		directory, err := statedir.Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		state := map[string]*statedir.Bundle{}
		for revision := range uint64(rapid.IntRange(1, 6).Draw(rt, "stores")) {
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				if directory, err = statedir.Open(path); err != nil {
					rt.Fatal(err)
				}
			}
			beforeRevision, before := read(rt, path)
			journalBefore, _ := os.ReadFile(filepath.Join(path, journalName))
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				api := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "api")
				if rapid.Bool().Draw(rt, "remove") {
					delete(state, api)
				} else {
					state[api] = pack(rt, api, fmt.Sprint(revision), rapid.SampledFrom([]int{10, 10, 10, 1000, 600_000}).Draw(rt, "size"))
				}
			}
			if err := directory.StoreLastGood(revision, slices.Collect(maps.Values(state))); err != nil {
				rt.Fatal(err)
			}
			if got, bundles := read(rt, path); got != revision || !slices.Equal(bundles, listed(state)) {
				rt.Fatalf("expected revision %d with %q, got %d with %q", revision, listed(state), got, bundles)
			}
			cutShort(rt, path, journalBefore, func() {
				if got, bundles := read(rt, path); got != beforeRevision || !slices.Equal(bundles, before) {
					rt.Fatalf("cut short: expected revision %d with %q, got %d with %q", beforeRevision, before, got, bundles)
				}
			})
		}
	})
}

// cutShort calls check while the last record of the journal is not whole, if the last write has appended one.
func cutShort(t *rapid.T, path string, before []byte, check func()) {
	name := filepath.Join(path, journalName)
	after, err := os.ReadFile(name)
	if err != nil || len(before) == 0 || len(after) <= len(before) || !bytes.HasPrefix(after, before) {
		return
	}
	end := rapid.IntRange(len(before), len(after)-1).Draw(t, "end")
	if err := os.WriteFile(name, after[:end], 0o600); err != nil {
		t.Fatal(err)
	}
	check()
	if err := os.WriteFile(name, after, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeIsAppendedAndTheJournalIsFoldedNowAndThen(t *testing.T) {
	directory := open(t)
	bundles := []*statedir.Bundle{pack(t, "large", "1", 3<<20), pack(t, "small", "1", 100)}
	folds, journalSize := 0, int64(0)
	var whole os.FileInfo
	for revision := range uint64(700) {
		bundles[1] = pack(t, "small", fmt.Sprint(revision), 4000)
		if err := directory.StoreLastGood(revision, bundles); err != nil {
			t.Fatal(err)
		}
		now, err := os.Stat(filepath.Join(directory.Path(), statedir.LastGood))
		if err != nil {
			t.Fatal(err)
		}
		if whole != nil && !os.SameFile(whole, now) {
			folds++
		}
		whole = now
		if info, err := os.Stat(filepath.Join(directory.Path(), journalName)); err == nil {
			journalSize = max(journalSize, info.Size())
		}
	}
	if folds < 1 || folds > 4 || journalSize > 2<<20 {
		t.Errorf("expected the journal of at most half of 3 MiB to be folded about twice, got %d folds and %d bytes", folds, journalSize)
	}
}

func TestAJournalOfAnotherFileIsIgnored(t *testing.T) {
	directory := open(t)
	for revision, digest := range []string{"1", "2"} {
		if err := directory.StoreLastGood(uint64(revision), []*statedir.Bundle{pack(t, "a", digest, 10)}); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(directory.Path(), journalName)
	leftOver, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := directory.Write(statedir.LastGood, &nodev1.Update{Revision: 9, Bundles: []*nodev1.ApiBundle{{Api: "a", Digest: "9"}}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, leftOver, 0o600); err != nil { // the engine was killed before it removed it
		t.Fatal(err)
	}
	if revision, bundles := read(t, directory.Path()); revision != 9 || !slices.Equal(bundles, []string{"a 9"}) {
		t.Errorf("expected the newer file alone, got %d, %q", revision, bundles)
	}
	if err := directory.StoreLastGood(10, []*statedir.Bundle{pack(t, "a", "10", 10)}); err != nil {
		t.Fatal(err)
	}
	if revision, bundles := read(t, directory.Path()); revision != 10 || !slices.Equal(bundles, []string{"a 10"}) {
		t.Errorf("expected what was stored since, got %d, %q", revision, bundles)
	}
}

func TestADamagedRecordBeforeOthersIsAnError(t *testing.T) {
	directory := open(t)
	for revision := range uint64(4) {
		if err := directory.StoreLastGood(revision, []*statedir.Bundle{pack(t, "a", fmt.Sprint(revision), 100)}); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(directory.Path(), journalName)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := directory.Read(statedir.LastGood); err == nil {
		t.Error("expected an error")
	}
	directory.RenameDamaged(statedir.LastGood)
	if got, err := directory.Read(statedir.LastGood); got != nil || err != nil {
		t.Errorf("expected no file any more, got %v, %v", got, err)
	}
}

func TestAfterAFailedAppendTheStateIsWrittenWhole(t *testing.T) {
	directory := open(t)
	store := func(revision uint64) error {
		return directory.StoreLastGood(revision, []*statedir.Bundle{pack(t, "a", fmt.Sprint(revision), 10)})
	}
	name := filepath.Join(directory.Path(), journalName)
	if err := cmp.Or(store(1), os.Symlink("/dev/full", name)); err != nil {
		t.Fatal(err)
	}
	if err := store(2); err == nil || directory.FailedWrites() != 1 {
		t.Errorf("expected one failed write, got %v and %d", err, directory.FailedWrites())
	}
	if err := store(3); err != nil {
		t.Fatal(err)
	}
	if revision, bundles := read(t, directory.Path()); revision != 3 || !slices.Equal(bundles, []string{"a 3"}) {
		t.Errorf("expected the newest state, got %d, %q", revision, bundles)
	}
}

func TestAPackedBundleIsTheBundle(t *testing.T) {
	message := &nodev1.ApiBundle{Api: "a", Digest: "1", Routes: [][]byte{[]byte("route")}, Chains: []*nodev1.Chain{{Id: "c"}}}
	packed, err := statedir.Pack(message)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := packed.Message(); err != nil || !proto.Equal(got, message) {
		t.Errorf("expected %v, got %v, %v", message, got, err)
	}
}
