package consumers_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/consumers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, folder string) *consumers.Index {
	t.Helper()
	index, err := consumers.Open(folder, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func opened(t *testing.T) *consumers.Index {
	t.Helper()
	index := open(t, t.TempDir())
	t.Cleanup(index.Close)
	return index
}

func serialized(t testing.TB, message proto.Message) []byte {
	t.Helper()
	content, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func digest(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

func consumer(t testing.TB, name string, keys ...string) []byte {
	t.Helper()
	message := &nodev1.Consumer{Name: name, Plan: "gold", Labels: map[string]string{"team": "a"}}
	for _, key := range keys {
		d := digest(key)
		message.Keys = append(message.Keys, &nodev1.ConsumerKey{Digest: d[:]})
	}
	return serialized(t, message)
}

func shardOf(name string) int {
	d := digest(name)
	return int(binary.BigEndian.Uint16(d[:2])) >> 6
}

func put(index *consumers.Index, consumers ...[]byte) {
	index.Apply(&nodev1.ConsumerChange{Consumers: consumers})
}

func owner(index *consumers.Index, key string) string {
	if found := index.ByKey(digest(key)); found != nil {
		return found.Name
	}
	return ""
}

func TestAConsumerIsFoundByItsKeysAlone(t *testing.T) {
	index := opened(t)
	put(index, consumer(t, "acme", "one", "two"), consumer(t, "beta", "three"))
	if owner(index, "one") != "acme" || owner(index, "two") != "acme" || owner(index, "three") != "beta" || owner(index, "four") != "" {
		t.Error("expected each key to find its consumer, and another none")
	}
	put(index, consumer(t, "acme", "two"))
	if owner(index, "one") != "" || owner(index, "two") != "acme" {
		t.Error("expected the revoked key alone to be refused")
	}
	index.Apply(&nodev1.ConsumerChange{Removed: []string{"acme", "nobody"}})
	if owner(index, "two") != "" || owner(index, "three") != "beta" || index.Len() != 1 {
		t.Error("expected acme to be gone, and beta to stay")
	}
}

func TestAnExpiredKeyIsRefused(t *testing.T) {
	index := opened(t)
	past, future := digest("past"), digest("future")
	put(index, serialized(t, &nodev1.Consumer{Name: "acme", Keys: []*nodev1.ConsumerKey{
		{Digest: past[:], Expires: time.Now().Unix()}, {Digest: future[:], Expires: time.Now().Unix() + 3600}}}))
	if owner(index, "past") != "" || owner(index, "future") != "acme" {
		t.Errorf("expected the key that has expired to be refused, and no other")
	}
}

func TestClaimsAndCertificatesFindAConsumer(t *testing.T) {
	index := opened(t)
	certificate := digest("der")
	put(index, serialized(t, &nodev1.Consumer{Name: "acme", Claims: []*nodev1.ConsumerClaims{{Issuer: "https://id", Subject: "7"}}, Certificates: [][]byte{certificate[:]}}))
	if found := index.ByClaims("https://id", "7"); found == nil || found.Name != "acme" {
		t.Errorf("expected acme by its claims, got %v", found)
	}
	if index.ByClaims("https://id", "8") != nil || index.ByClaims("https://other", "7") != nil || index.ByCertificate(digest("other")) != nil {
		t.Error("expected no consumer by what it has not")
	}
	put(index, serialized(t, &nodev1.Consumer{Name: "beta", Claims: []*nodev1.ConsumerClaims{{Issuer: "https://id"}}}))
	for subject, want := range map[string]string{"7": "acme", "8": "beta", "": "beta"} {
		if found := index.ByClaims("https://id", subject); found == nil || found.Name != want {
			t.Errorf("expected the subject %q to be %s, got %v", subject, want, found)
		}
	}
	index.Apply(&nodev1.ConsumerChange{Removed: []string{"beta"}})
	if index.ByClaims("https://id", "8") != nil {
		t.Error("expected the issuer's other subjects to go with their consumer")
	}
	if found := index.ByCertificate(certificate); found == nil || found.Name != "acme" {
		t.Errorf("expected acme by its certificate, got %v", found)
	}
}

func TestAKeyThatMovesStaysWithItsNewConsumer(t *testing.T) {
	index := opened(t)
	put(index, consumer(t, "acme", "one"))
	put(index, consumer(t, "beta", "one"))
	index.Apply(&nodev1.ConsumerChange{Removed: []string{"acme"}})
	if owner(index, "one") != "beta" {
		t.Error("expected the key to stay beta's")
	}
}

func TestAWholeShardReplacesWhatWasInIt(t *testing.T) {
	index := opened(t)
	put(index, consumer(t, "acme", "one"), consumer(t, "beta", "two"))
	number := uint32(shardOf("acme")) //nolint:gosec // below 1024
	index.Apply(&nodev1.ConsumerChange{Shards: []*nodev1.ConsumerShard{{Number: number}}})
	if owner(index, "one") != "" || owner(index, "two") != "beta" {
		t.Error("expected the shard of acme to be empty, and the others as they were")
	}
}

func TestVersionsSayWhatThereIsWhateverTheOrder(t *testing.T) {
	a, b := opened(t), opened(t)
	empty := serialized(t, a.Versions())
	put(a, consumer(t, "acme", "one"), consumer(t, "beta", "two"))
	put(b, consumer(t, "beta", "other"))
	put(b, consumer(t, "beta", "two"), consumer(t, "acme", "one"))
	if string(serialized(t, a.Versions())) != string(serialized(t, b.Versions())) {
		t.Error("expected the same versions of the same consumers")
	}
	acme := consumer(t, "acme", "one")
	at := 8 * shardOf("acme")
	if d := sha256.Sum256(acme); string(a.Versions().GetShards()[at:at+8]) != string(d[:8]) {
		t.Error("expected the version of a shard with one consumer to be the beginning of its digest")
	}
	a.Apply(&nodev1.ConsumerChange{Removed: []string{"acme", "beta"}})
	if string(serialized(t, a.Versions())) != string(empty) {
		t.Error("expected the versions of an empty index once all are gone")
	}
}

func TestPlansThatAreUnchangedKeepTheirPointer(t *testing.T) {
	index := opened(t)
	set := func(plans ...*nodev1.Plan) {
		index.Apply(&nodev1.ConsumerChange{Plans: serialized(t, &nodev1.Plans{Plans: plans})})
	}
	set(&nodev1.Plan{Name: "gold", Limits: []byte("[1]")}, &nodev1.Plan{Name: "free", Limits: []byte("[2]")})
	gold, free := index.Plan("gold"), index.Plan("free")
	set(&nodev1.Plan{Name: "gold", Limits: []byte("[1]")}, &nodev1.Plan{Name: "free", Limits: []byte("[3]")})
	if index.Plan("gold") != gold || index.Plan("free") == free || string(index.Plan("free").Limits) != "[3]" {
		t.Error("expected another pointer for the plan that has changed alone")
	}
	set()
	if index.Plan("gold") != nil {
		t.Error("expected no plan once there are none")
	}
}

func TestAStartWithoutAControllerHasWhatThereWas(t *testing.T) {
	folder := t.TempDir()
	index := open(t, folder)
	put(index, consumer(t, "acme", "one"), consumer(t, "beta", "two"))
	index.Apply(&nodev1.ConsumerChange{Plans: serialized(t, &nodev1.Plans{Plans: []*nodev1.Plan{{Name: "gold"}}})})
	index.Apply(&nodev1.ConsumerChange{Removed: []string{"beta"}})
	versions := serialized(t, index.Versions())
	index.Close()
	again := open(t, folder)
	defer again.Close()
	if owner(again, "one") != "acme" || owner(again, "two") != "" || again.Plan("gold") == nil {
		t.Error("expected the consumers and plans of the last run")
	}
	if string(serialized(t, again.Versions())) != string(versions) {
		t.Error("expected the versions of the last run")
	}
}

func TestADamagedFileCostsItsOwnConsumersAlone(t *testing.T) {
	folder := t.TempDir()
	index := open(t, folder)
	put(index, consumer(t, "acme", "one"), consumer(t, "beta", "two"))
	index.Close()
	path := filepath.Join(folder, "consumers", fmt.Sprintf("%04d", shardOf("acme")))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, folder)
	defer again.Close()
	if owner(again, "one") != "" || owner(again, "two") != "beta" {
		t.Error("expected the consumers of the damaged file alone to be refused")
	}
}

const many = 100_000

func shardsOfMany(t testing.TB) *nodev1.ConsumerChange {
	t.Helper()
	change := &nodev1.ConsumerChange{}
	for n := range consumers.Shards {
		change.Shards = append(change.Shards, &nodev1.ConsumerShard{Number: uint32(n)}) //nolint:gosec // below Shards
	}
	for n := range many {
		name := fmt.Sprintf("consumer-%06d", n)
		shard := change.Shards[shardOf(name)]
		shard.Consumers = append(shard.Consumers, consumer(t, name, fmt.Sprintf("key-%d", n)))
	}
	return change
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// receive has the index take a serialized change, of which it keeps nothing else.
func receive(t *testing.T, index *consumers.Index, change []byte) {
	t.Helper()
	received := &nodev1.ConsumerChange{}
	if err := proto.Unmarshal(change, received); err != nil {
		t.Fatal(err)
	}
	index.Apply(received)
}

func TestAHundredThousandConsumersTakeBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	index := opened(t)
	change := serialized(t, shardsOfMany(t))
	before, begin := heap(), time.Now()
	receive(t, index, change)
	took := time.Since(begin)
	used := heap() - before
	t.Logf("%d consumers: %d bytes sent, %d bytes of heap, taken in %s", many, len(change), used, took)
	if used > 128<<20 {
		t.Errorf("expected at most 128 MiB for %d consumers, got %d bytes", many, used)
	}
	runtime.KeepAlive(index)
}

func BenchmarkByKey(b *testing.B) {
	index, err := consumers.Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer index.Close()
	index.Apply(shardsOfMany(b))
	b.ResetTimer()
	for n := 0; b.Loop(); n++ {
		if index.ByKey(digest(fmt.Sprintf("key-%d", n*7919%many))) == nil {
			b.Fatal("not found")
		}
	}
}
