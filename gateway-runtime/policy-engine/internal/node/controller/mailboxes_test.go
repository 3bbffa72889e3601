package controller_test

import (
	"bytes"
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/property"
)

func anUpdate(t *rapid.T, label string) *nodev1.Update {
	update := &nodev1.Update{Revision: rapid.Uint64Range(1, 99).Draw(t, label+" revision")}
	for _, api := range []string{"a", "b", "c", "d"} {
		switch rapid.IntRange(0, 3).Draw(t, label+" "+api) {
		case 1:
			update.RemovedApis = append(update.RemovedApis, api)
		case 2, 3:
			digest := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, label+" digest of "+api)
			update.Bundles = append(update.Bundles, &nodev1.ApiBundle{Api: api, Digest: digest})
		}
	}
	for _, secret := range []string{"x", "y"} {
		if version := rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, label+" version of "+secret); version != "" {
			update.Secrets = append(update.Secrets, &nodev1.SecretValues{Name: secret, Version: version})
		}
	}
	return update
}

// applied is the model: the running state after an update that is accepted completely.
func applied(state map[string]string, update *nodev1.Update) map[string]string {
	next := maps.Clone(state)
	for _, api := range update.GetRemovedApis() {
		delete(next, api)
	}
	for _, bundle := range update.GetBundles() {
		next[bundle.GetApi()] = bundle.GetDigest()
	}
	for _, secret := range update.GetSecrets() {
		next["secret "+secret.GetName()] = secret.GetVersion()
	}
	return next
}

// unpacked returns an update with its bundles.
func unpacked(t *rapid.T, packed *controller.PackedUpdate) *nodev1.Update {
	for _, bundle := range packed.Bundles {
		message, err := bundle.Message()
		if err != nil {
			t.Fatal(err)
		}
		packed.Update.Bundles = append(packed.Update.Bundles, message)
	}
	return packed.Update
}

func TestMergedUpdatesDoWhatTheyDoOneAfterAnother(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		start := applied(map[string]string{}, anUpdate(t, "start"))
		first, second := anUpdate(t, "first"), anUpdate(t, "second")
		want := applied(applied(start, first), second)
		inbox := controller.NewInbox()
		if rapid.Bool().Draw(t, "the first is requeued") {
			inbox.Add(second)
			inbox.Requeue(first)
		} else {
			inbox.Add(first)
			inbox.Add(second)
		}
		merged := unpacked(t, inbox.Drain())
		if got := applied(start, merged); !maps.Equal(got, want) {
			t.Fatalf("expected %v, got %v", want, got)
		}
		if merged.GetRevision() != second.GetRevision() {
			t.Fatalf("expected the newer revision, got %d", merged.GetRevision())
		}
		if inbox.Drain() != nil {
			t.Fatal("expected the inbox to be empty")
		}
	})
}

// Thousands of bundles that wait, decoded, would take as much memory as all that is built of them.
func TestBundlesThatWaitArePacked(t *testing.T) {
	inbox := controller.NewInbox()
	message := &nodev1.ApiBundle{Api: "a", Digest: "1", Clusters: [][]byte{bytes.Repeat([]byte("cluster "), 1000)}}
	for _, add := range []func(*nodev1.Update){inbox.Add, inbox.Requeue} {
		update := &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{message}}
		add(update)
		if len(update.GetBundles()) != 0 {
			t.Error("expected the update to hold no bundle any more")
		}
	}
	waiting := inbox.Drain().Bundles
	if len(waiting) != 1 || waiting[0].API != "a" || waiting[0].Digest != "1" {
		t.Fatalf("expected the bundle of a, got %v", waiting)
	}
	if unpacked, err := waiting[0].Message(); err != nil || !proto.Equal(unpacked, message) {
		t.Errorf("expected the bundle as it was, got %v, %v", unpacked, err)
	}
}

func TestTheNewerGatewayCounts(t *testing.T) {
	inbox := controller.NewInbox()
	inbox.Add(&nodev1.Update{Gateway: &nodev1.Gateway{Digest: "one"}})
	inbox.Add(&nodev1.Update{})
	if got := inbox.Drain().Update.GetGateway().GetDigest(); got != "one" {
		t.Errorf("expected the Gateway of the first update, got %q", got)
	}
	inbox.Add(&nodev1.Update{Gateway: &nodev1.Gateway{Digest: "one"}})
	inbox.Add(&nodev1.Update{Gateway: &nodev1.Gateway{Digest: "two"}})
	if got := inbox.Drain().Update.GetGateway().GetDigest(); got != "two" {
		t.Errorf("expected the newer Gateway, got %q", got)
	}
}
