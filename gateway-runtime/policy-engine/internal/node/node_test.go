package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func some(bundles ...*nodev1.ApiBundle) []*nodev1.ApiBundle { return bundles }

// Memory is bounded by waiting for builds; an API whose policy is slow to prepare must not hold up all others.
func TestManySlowBuildsDelayAnUpdateOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &shelf{slow: make(chan struct{})}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: slow}, t.TempDir())
		bundles := make([]*nodev1.ApiBundle, 0, 2*mostUnfinished+1)
		for i := range 2 * mostUnfinished {
			name := fmt.Sprintf("slow%d", i)
			bundles = append(bundles, bundleWith(name, "1", attachment(name, `{"slow":true}`)))
		}
		begin := time.Now()
		equal(t, "report", b.apply(1, append(bundles, bundle("usual", "1"))), "1 usual 1 APPLIED")
		if took := time.Since(begin); took > 3*b.node.timing.Gather {
			t.Errorf("expected slow builds to delay the update for a time or two, got %s", took)
		}
		close(slow.slow)
		b.node.Close()
	})
}

func TestABundleThatCannotBeUnpackedIsRejectedAlone(t *testing.T) {
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	packed := controller.Pack(&nodev1.Update{Revision: 1, Bundles: some(bundle("a", "1"))})
	packed.Bundles = append(packed.Bundles, statedir.Broken(bundle("b", "1"), errors.New("not a message")))
	b.node.apply(t.Context(), packed, time.Second)
	equal(t, "report", b.reported(), "1 a 1 APPLIED", "1 b 1 REJECTED")
	b.node.Close()
}

func TestAnUpdateIsStagedMakeBeforeBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.envoy.drainTranscript()
		equal(t, "first", b.apply(1, some(bundle("a", "1"), bundle("b", "1"))), "1 a 1 APPLIED", "1 b 1 APPLIED")
		equal(t, "second", b.apply(2, some(bundle("a", "2")), "b"), "2 a 2 APPLIED", "2 b  REMOVED")
		equal(t, "transcript", b.envoy.drainTranscript(),
			"clusters a|1 b|1: yes", "routes a|1 b|1: yes",
			"clusters a|1 a|2 b|1: yes", "routes a|2: yes")
		equal(t, "same again", b.apply(3, some(bundle("a", "2"))), "3 a 2 APPLIED")
		equal(t, "no update", b.envoy.drainTranscript())
		b.node.Close()
	})
}

func TestOldChainsGoAfterTheLastExchangeAndThenOldClusters(t *testing.T) {
	synctest.Test(t, testOldChains)
}

func testOldChains(t *testing.T) {
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.apply(1, some(bundle("a", "1")))
	held, ok := b.table.Acquire(chainID("a1"))
	if !ok {
		t.Fatal("the first chain is not in the table")
	}
	b.apply(2, some(bundle("a", "2")))
	b.run()
	time.Sleep(time.Minute) // longer than the grace: only the exchange keeps the chain
	synctest.Wait()
	if clusters, _ := b.envoy.serves(); len(clusters) != 2 {
		t.Fatalf("expected the old cluster to stay while an exchange is in the old chain, got %q", clusters)
	}
	if open, _ := b.shelf.counts(); open != 2 {
		t.Fatalf("expected two open instances, got %d", open)
	}
	held.Release()
	b.eventually("the old cluster is gone", func() bool { clusters, _ := b.envoy.serves(); return len(clusters) == 1 })
	b.eventually("the old instance is closed", func() bool { open, _ := b.shelf.counts(); return open == 1 })
	if _, ok := b.table.Acquire(chainID("a1")); ok {
		t.Error("the old chain is still in the table")
	}
}

func TestGoingBackWithinTheGraceKeepsTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("a", "1")))
		b.apply(2, some(bundle("a", "2")))
		b.apply(3, some(bundle("a", "1")))
		b.run()
		b.eventually("the second version's instance is closed", func() bool { open, _ := b.shelf.counts(); return open == 1 })
		b.eventually("its cluster is gone", func() bool { clusters, _ := b.envoy.serves(); return len(clusters) == 1 && clusters[0] == "a|1" })
		if _, built := b.shelf.counts(); built != 2 {
			t.Errorf("expected two instances to have been built in all, got %d", built)
		}
		if c, ok := b.table.Acquire(chainID("a1")); !ok {
			t.Error("the first chain is gone, but its route is served")
		} else {
			c.Release()
		}
	})
}

func TestARefusedBundleIsRejectedAndItsLastGoodVersionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("a", "1"), bundle("b", "1"), bundle("c", "1")))
		b.envoy.bad["b|2"] = true
		equal(t, "report", b.apply(2, some(bundle("a", "2"), bundle("b", "2"), bundle("c", "2"), bundle("d", "2"))),
			"2 a 2 APPLIED", "2 b 2 REJECTED", "2 c 2 APPLIED", "2 d 2 APPLIED")
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "a|2", "b|1", "c|2", "d|2")
		b.run()
		b.eventually("nothing of the refused version is left", func() bool {
			clusters, _ := b.envoy.serves()
			open, _ := b.shelf.counts()
			return strings.Join(clusters, " ") == "a|2 b|1 c|2 d|2" && open == 4
		})
	})
}

func TestAClusterThatEnvoyDoesNotAcknowledgeIsRemovedAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.envoy.held["b|1"] = true
		equal(t, "report", b.apply(1, some(bundle("a", "1"), bundle("b", "1"))), "1 a 1 APPLIED", "1 b 1 PENDING")
		equal(t, "answers 503 for", b.envoy.answersFor(), "b")
		if clusters, _ := b.envoy.serves(); strings.Join(clusters, " ") != "a|1" {
			t.Errorf("expected the cluster that holds all back to be gone, got %q", clusters)
		}
		delete(b.envoy.held, "b|1")
		b.run()
		b.eventually("tried again", func() bool { _, routes := b.envoy.serves(); return strings.Join(routes, " ") == "a|1 b|1" })
	})
}

func TestAChainThatCannotBeBuiltRejectsItsBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		unknown := bundleWith("unknown", "1", &nodev1.Attachment{Instance: "u", PolicyName: "tga", PolicyVersion: "v1.0.0"})
		other := attachment("o", "{}")
		other.DefinitionDigest = "other"
		mode := attachment("m", "{}")
		mode.ProcessingMode = &nodev1.ProcessingMode{}
		narrow := bundle("narrow", "1")
		narrow.Chains[0].ProcessingMode = nil
		onError := attachment("e", "{}")
		onError.OnErrorByClass = map[string]nodev1.OnError{"bad": nodev1.OnError_ON_ERROR_CONTINUE}
		when := attachment("w", "{}")
		when.When = "request.mehtod == \"GET\""
		noRoute := bundle("noroute", "1")
		noRoute.Chains = nil
		b.node.apply(t.Context(), controller.Pack(&nodev1.Update{Revision: 1, Bundles: some(unknown, bundleWith("digest", "1", other), bundleWith("mode", "1", mode),
			narrow, noRoute, bundleWith("params", "1", attachment("p", `{"bad":true}`)), bundleWith("panics", "1", attachment("x", `{"panic":true}`)),
			bundleWith("onerror", "1", onError), bundleWith("when", "1", when), bundle("good", "1"))}), time.Second)
		reasons := map[string]string{}
		for _, message := range b.node.outbox.Drain() {
			report := message.GetReport()
			for _, status := range report.GetApis() {
				reasons[status.GetApi()] = status.GetReason()
			}
		}
		for api, reason := range map[string]string{
			"unknown": "policy tga:v1.0.0: this node has tag:v1.0.0", "digest": "expected digest digest, got other", "mode": "processing mode: expected",
			"narrow": "the chain delivers", "noroute": "expected the id of one of the bundle's chains", "params": "bad is not a parameter",
			"panics": "its factory panicked: oh", "onerror": `got "bad"`, "good": "",
			"when": "policy tag:v1.0.0: when: line 1, column 8: expected one of the variables request.method",
		} {
			if !strings.Contains(reasons[api], reason) || (reason == "") != (reasons[api] == "") {
				t.Errorf("%s: expected a reason with %q, got %q", api, reason, reasons[api])
			}
		}
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "good|1")
		if open, _ := b.shelf.counts(); open != 1 {
			t.Errorf("expected one open instance, got %d", open)
		}
	})
}

func TestWithoutEnvoyTheReportWaitsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(false), t.TempDir())
		equal(t, "report", b.apply(1, some(bundle("a", "1"), bundle("b", "1"))))
		for _, ref := range b.node.hello().GetBundles() {
			if ref.GetDigest() != "" || !ref.GetUnsettled() {
				t.Errorf("expected the hello not to say that it serves what no Envoy has taken, got %v", ref)
			}
		}
		b.envoy.bad["b|1"] = true
		b.run()
		b.envoy.connect()
		var reported []string
		b.eventually("a report", func() bool { reported = append(reported, b.reported()...); return len(reported) == 2 })
		equal(t, "report", reported, "1 a 1 APPLIED", "1 b 1 REJECTED")
	})
}

func TestAVersionThatAConnectingEnvoyRefusesIsRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("a", "1"), bundle("b", "1")))
		b.envoy.present = false
		b.apply(2, some(bundle("a", "2"), bundle("b", "2")))
		b.apply(3, some(bundle("a", "3")))
		b.envoy.bad["a|3"] = true
		b.run()
		b.envoy.connect()
		var reported []string
		b.eventually("both reports", func() bool { reported = append(reported, b.reported()...); return len(reported) == 2 })
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "a|1", "b|2")
		b.eventually("only what is served stays", func() bool {
			clusters, _ := b.envoy.serves()
			open, _ := b.shelf.counts()
			return strings.Join(clusters, " ") == "a|1 b|2" && open == 2
		})
	})
}

func TestARestartBringsTheLastGoodStateBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		first := newBench(t, newScriptedEnvoy(true), directory)
		first.envoy.bad["b|2"] = true
		first.apply(7, some(bundle("a", "1"), bundle("b", "1")))
		first.apply(8, some(bundle("b", "2"), bundle("c", "1")), "a")
		first.node.Close()

		second := newBench(t, newScriptedEnvoy(false), directory)
		_, routes := second.envoy.serves()
		equal(t, "routes", routes, "b|1", "c|1")
		if _, ok := second.table.Acquire(chainID("b1")); !ok {
			t.Error("the chain is not there, but its route is")
		}
		if refs := second.node.hello().GetBundles(); len(refs) != 2 {
			t.Errorf("expected the hello to name the two APIs, got %v", refs)
		}
		second.node.Close()
	})
}

func TestAnAPIThatDoesNotComeUpAfterARestartStaysStoredAndIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		first := newBench(t, newScriptedEnvoy(true), directory)
		first.apply(1, some(bundle("a", "1")))
		first.node.Close()

		second := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{fail: v1alpha.Failf(v1alpha.ClassUnavailable, "no executor")}}
		made := newBenchWith(t, second, directory)
		_, routes := made.envoy.serves()
		equal(t, "routes", routes)
		made.apply(2, some(bundle("a", "1"))) // fails as well
		if state, err := made.node.state.Read(statedir.LastGood); err != nil || len(state.GetBundles()) != 1 {
			t.Fatalf("expected the last good state to keep the API, got %v, %v", state, err)
		}
		made.run()
		made.shelf.failing(nil)
		made.eventually("tried again", func() bool { _, routes := made.envoy.serves(); return len(routes) == 1 })
	})
}

func TestADamagedStateFileIsRenamedAndIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		first := newBench(t, newScriptedEnvoy(true), directory)
		first.apply(1, some(bundle("a", "1")))
		first.node.Close()
		path := filepath.Join(directory, statedir.LastGood)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, damaged := range map[string][]byte{"cut": content[:len(content)-3], "empty": {}, "no state": []byte("x\ny"),
			"flipped": append(content[:len(content)-1:len(content)-1], content[len(content)-1]^1)} {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			second := newBench(t, newScriptedEnvoy(false), directory)
			if _, routes := second.envoy.serves(); len(routes) != 0 {
				t.Errorf("%s: expected nothing to be served, got %q", name, routes)
			}
			if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != string(damaged) {
				t.Errorf("%s: expected the file to be kept beside, got %v", name, err)
			}
			second.node.Close()
		}
	})
}

func TestAFullDiskRefusesTheUpdateAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		b := newBench(t, newScriptedEnvoy(true), directory)
		b.apply(1, some(bundle("a", "1")))
		full := filepath.Join(directory, statedir.Pending+".new")
		if err := os.Symlink("/dev/full", full); err != nil {
			t.Fatal(err)
		}
		equal(t, "report", b.apply(2, some(bundle("a", "2")), "x"), "2 a 2 PENDING", "2 x  PENDING")
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "a|1")
		b.run() // the failed write has removed the link, so that there is room again
		b.eventually("tried again", func() bool { _, routes := b.envoy.serves(); return strings.Join(routes, " ") == "a|2" })
	})
}

func TestAnEngineThatDiedDuringAnUpdateLogsItAndStartsFromTheLastGoodState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		first := newBench(t, newScriptedEnvoy(true), directory)
		first.apply(1, some(bundle("a", "1")))
		if err := first.node.state.Write(statedir.Pending, &nodev1.Update{Revision: 2, Bundles: some(bundle("a", "2"))}); err != nil {
			t.Fatal(err)
		}
		first.node.Close()
		second := newBench(t, newScriptedEnvoy(false), directory)
		_, routes := second.envoy.serves()
		equal(t, "routes", routes, "a|1")
		if _, err := os.Stat(filepath.Join(directory, statedir.Pending)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("expected the pending state to be gone, got %v", err)
		}
		second.node.Close()
	})
}

// An API-level attachment is in the chains of all operations, and its instance lives on while it is unchanged.
func TestASharedInstanceIsBuiltOnceAndClosedAfterItsLastChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		withOperation := func(digest string, own ...*nodev1.Attachment) *nodev1.ApiBundle {
			bundle := bundleWith("a", "1", attachment("shared", "{}"))
			bundle.Digest = digest
			second := bundleWith("a", digest+"x", append([]*nodev1.Attachment{attachment("shared", "{}")}, own...)...)
			bundle.Chains = append(bundle.Chains, second.Chains...)
			bundle.Routes = append(bundle.Routes, second.Routes...)
			return bundle
		}
		b.apply(1, some(withOperation("1", attachment("own1", "{}"))))
		b.apply(2, some(withOperation("2", attachment("own2", "{}"))))
		if open, built := b.shelf.counts(); open != 3 || built != 3 {
			t.Fatalf("expected the shared instance and two others, got %d open of %d built", open, built)
		}
		b.run()
		b.eventually("the first operation's own instance is closed", func() bool { open, _ := b.shelf.counts(); return open == 2 })
		if c, ok := b.table.Acquire(chainID("a1")); !ok {
			t.Error("the chain that both versions have is gone with the first")
		} else {
			c.Release()
		}
		b.node.inbox.Add(&nodev1.Update{Revision: 3, RemovedApis: []string{"a"}})
		b.eventually("all are closed", func() bool { open, _ := b.shelf.counts(); return open == 0 })
		if _, built := b.shelf.counts(); built != 3 {
			t.Errorf("expected three instances to have been built, got %d", built)
		}
		b.eventually("no cluster is left", func() bool { clusters, _ := b.envoy.serves(); return len(clusters) == 0 })
	})
}

// A departure may be under way when its chain is taken back, and then retired anew.
func TestAnUndoneDepartureClosesNoChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		message := some(bundle("a", "1"))
		chains := b.node.chains
		hold := func() []*chainRef {
			done := make(chan *build)
			chains.startBuild(message[0], nil, func() error { return nil }, func(b *build) { done <- b })
			held := <-done
			if err := chains.acquire(held); err != nil {
				t.Fatal(err)
			}
			return held.refs
		}
		first := chains.release(hold(), &xds.Bundle{})
		second := chains.release(hold(), &xds.Bundle{})
		chains.closeDeparted(first[0])
		if open, _ := b.shelf.counts(); open != 1 {
			t.Errorf("expected the instance to be open until the second departure, got %d open", open)
		}
		chains.closeDeparted(second[0])
		if open, built := b.shelf.counts(); open != 0 || built != 1 {
			t.Errorf("expected the one instance to be closed, got %d open of %d", open, built)
		}
		b.node.Close()
	})
}

func TestAttachmentsOfTheSameConditionShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		const text = `request.method == "GET"`
		first, second, other := attachment("one", "{}"), attachment("two", "{}"), attachment("other", "{}")
		first.When, second.When, other.When = text, text, `request.method == "PUT"`
		equal(t, "report", b.apply(1, some(bundleWith("a", "1", first, attachment("none", "{}")), bundleWith("b", "1", second, other))), "1 a 1 APPLIED", "1 b 1 APPLIED")
		of := func(id string) chain.Condition { return b.node.chains.instances[id].built.instance.Settings().When }
		if of("one").Text() != text || of("one") != of("two") || of("other") == of("one") || of("none") != nil {
			t.Errorf("expected one condition for one text, got %v, %v, %v, %v", of("one"), of("two"), of("other"), of("none"))
		}
	})
}
