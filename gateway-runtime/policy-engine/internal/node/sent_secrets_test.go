package node

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/secrets"
)

// ofController returns a bundle whose policy uses the key "key" of the controller's Secret "pay".
func ofController(api string) *nodev1.ApiBundle {
	return bundleWith(api, "1", attachment(api+"-one", `{"key":{"secretRef":"pay/key"}}`))
}

func sentSecret(version, value string) []*nodev1.SecretValues {
	return []*nodev1.SecretValues{{Name: "pay", Version: version, Values: map[string]string{"key": value}}}
}

func (b *secretBench) holds(versions ...string) {
	b.t.Helper()
	var held []string
	for _, secret := range b.node.hello().GetSecrets() {
		held = append(held, secret.GetName()+"@"+secret.GetVersion())
	}
	equal(b.t, "the hello's secrets", held, versions...)
}

func TestASecretOfTheControllerIsUsedAndRotatedAndAloneInItsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, nil)
		b.node.receiveSecrets(sentSecret("1", "first-value"))
		equal(t, "report", b.apply(1, some(ofController("a"))), "1 a 1 APPLIED")
		equal(t, "instances", b.keyed.keys(), "first-value×1")
		b.holds("pay@1")
		b.envoy.drainTranscript()
		b.run()
		b.node.inbox.Add(&nodev1.Update{Revision: 2, Secrets: sentSecret("2", "second-value")})
		b.become("second-value×1")
		b.holds("pay@2")
		if transcript := b.envoy.drainTranscript(); len(transcript) > 0 {
			t.Errorf("expected no update of Envoy, got %q", transcript)
		}
		b.onlyIn(t, "secrets", "second-value")
		b.nothingOnDisk(t, "first-value")
		b.node.inbox.Add(&nodev1.Update{Revision: 3, RemovedApis: []string{"a"}})
		b.become()
		b.eventually("the node has its values no longer", func() bool { return len(b.node.hello().GetSecrets()) == 0 })
		b.eventually("the state directory has them no longer", func() bool {
			content, err := os.ReadFile(filepath.Join(b.state, "secrets"))
			return err == nil && !bytes.Contains(content, []byte("second-value"))
		})
		if stats := b.node.Stats().Secrets; stats != (SecretStats{}) {
			t.Errorf("got %+v", stats)
		}
	})
}

// onlyIn expects the value in this file of the state directory, which only its owner may read, and in no other one.
func (b *secretBench) onlyIn(t *testing.T, name, value string) {
	t.Helper()
	files, err := os.ReadDir(b.state)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(b.state, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(value)) {
			found = append(found, file.Name())
		}
	}
	equal(t, "files with the value", found, name)
	if info, err := os.Stat(filepath.Join(b.state, name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("expected mode 0600, got %v, %v", info.Mode(), err)
	}
}

func TestASecretOfTheControllerIsThereAfterAStartWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, nil)
		b.node.receiveSecrets(sentSecret("1", "first-value"))
		b.apply(1, some(ofController("a")))
		b.node.Close()
		next := &secretBench{keyed: &keyed{open: map[string]int{}, fail: map[string]bool{}, ids: map[string]bool{}}, state: b.state}
		next.bench = newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, policies: next.keyed.policies()}, b.state)
		equal(t, "instances", next.keyed.keys(), "first-value×1")
		next.holds("pay@1")
		next.run()
	})
}

func TestADamagedFileOfSecretsKeepsTheirAPIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := t.TempDir()
		if err := os.WriteFile(filepath.Join(state, "secrets"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBench(t, newScriptedEnvoy(true), state)
		equal(t, "report", b.apply(1, some(ofController("a"))), "1 a 1 PENDING")
		if _, err := os.Stat(filepath.Join(state, "secrets.damaged")); err != nil {
			t.Error(err)
		}
		b.run()
	})
}

func TestAnAPIWaitsForASecretOfTheControllerAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, nil)
		waits := func(revision uint64, expected string) {
			t.Helper()
			b.apply(revision, some(ofController("a")))
			if reason := b.node.queue.Get("a").Reason(); !strings.Contains(reason, expected) {
				t.Errorf("expected %q in %q", expected, reason)
			}
		}
		waits(1, "expected the Secret pay of the controller, got none")
		b.node.receiveSecrets([]*nodev1.SecretValues{{Name: "pay", Unavailable: "none of the controller's keys fits"}})
		waits(2, "none of the controller's keys fits")
		b.node.receiveSecrets([]*nodev1.SecretValues{{Name: "pay", Version: "1", Values: map[string]string{"other": "x"}}})
		waits(3, "expected the key key in the Secret pay")
		if stats := b.node.Stats().Secrets; stats != (SecretStats{InUse: 1, FailingFiles: 1}) {
			t.Errorf("got %+v", stats)
		}
		b.run()
		b.node.inbox.Add(&nodev1.Update{Revision: 4, Secrets: sentSecret("2", "value")})
		b.eventually("it runs", func() bool { return slices.Contains(b.keyed.keys(), "value×1") })
	})
}

func TestASecretThatBecomesUnavailableKeepsItsValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSecretBench(t, nil)
		b.node.receiveSecrets(sentSecret("1", "first-value"))
		b.apply(1, some(ofController("a")))
		b.node.receiveSecrets([]*nodev1.SecretValues{{Name: "pay", Unavailable: "none of the controller's keys fits"}})
		b.holds("pay@1")
		if stats := b.node.Stats().Secrets; stats != (SecretStats{InUse: 1, FailingFiles: 1}) {
			t.Errorf("got %+v", stats)
		}
		b.apply(2, some(ofController("b")))
		equal(t, "instances", b.keyed.keys(), "first-value×2")
		b.run()
	})
}

func TestSecretsOfVersionsThatDidNotComeUpAreReadOnce(t *testing.T) {
	kept, err := statedir.Pack(ofController("a"))
	if err != nil {
		t.Fatal(err)
	}
	unserved := map[string]*statedir.Bundle{"a": kept}
	read := secretsOfKept(unserved, nil)
	if refs := read[kept]; len(refs) != 1 || refs[0].Name != "pay/key" {
		t.Errorf("expected pay/key, got %v", refs)
	}
	known := map[*statedir.Bundle][]secrets.Ref{kept: {{API: "a", Name: "known"}}}
	if refs := secretsOfKept(unserved, known)[kept]; len(refs) != 1 || refs[0].Name != "known" {
		t.Errorf("expected what is known, got %v", refs)
	}
	if left := secretsOfKept(nil, read); len(left) != 0 {
		t.Errorf("expected nothing of a version that has come up, got %v", left)
	}
}
