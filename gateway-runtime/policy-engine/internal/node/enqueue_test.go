package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
	"gatewright.dev/policy-engine/internal/node/statedir"
)

func TestAnAPIThatCannotBeBuiltIsAnswered503UntilItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("good", "1")))
		b.shelf.failing(errors.New("no route to host"))
		equal(t, "report", b.apply(2, some(bundle("away", "1"), bundle("good", "2"))), "2 away 1 PENDING", "2 good 2 PENDING")
		equal(t, "answers 503 for", b.envoy.answersFor(), "away")
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "good|1")
		b.run()
		b.shelf.failing(nil)
		var reported []string
		b.eventually("both come up", func() bool { reported = append(reported, b.reported()...); return len(reported) == 2 })
		slices.Sort(reported)
		equal(t, "report", reported, "2 away 1 APPLIED", "2 good 2 APPLIED")
		equal(t, "answers 503 for", b.envoy.answersFor())
	})
}

// TestARetryThatRejectsAtOnceIsReported: what a bundle names may have gone since, so that no build begins.
func TestARetryThatRejectsAtOnceIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.shelf.failing(errors.New("no route to host"))
		equal(t, "report", b.apply(1, some(bundle("a", "1"))), "1 a 1 PENDING")
		b.node.queue.Get("a").Message.Context = "gone"
		b.run()
		var reported []string
		b.eventually("the retry is reported", func() bool { reported = append(reported, b.reported()...); return len(reported) > 0 })
		equal(t, "report", reported, "1 a 1 REJECTED")
	})
}

func TestAnAPIThatCannotRunIsAnswered503UntilItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.envoy.bad["refused|1"] = true
		equal(t, "report", b.apply(1, some(bundle("refused", "1"), bundleWith("panics", "1", attachment("x", `{"panic":true}`)))),
			"1 panics 1 REJECTED", "1 refused 1 REJECTED")
		equal(t, "answers 503 for", b.envoy.answersFor(), "panics", "refused")
		if next := b.node.queue.NextRetry(time.Now()); next < time.Hour {
			t.Errorf("expected neither to be tried again, got %s", next)
		}
		b.apply(2, nil, "refused")
		equal(t, "answers 503 for", b.envoy.answersFor(), "panics")
		equal(t, "report", b.apply(3, some(bundle("panics", "2"))), "3 panics 2 APPLIED")
		equal(t, "answers 503 for", b.envoy.answersFor())
		b.node.Close()
	})
}

func TestASlowBuildDelaysNoOtherAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.shelf.slow = make(chan struct{})
		slow := func(digest string) *nodev1.ApiBundle {
			return bundleWith("slow", digest, attachment("slow"+digest, `{"slow":true}`))
		}
		equal(t, "report", b.apply(1, some(slow("1"), bundle("quick", "1"))), "1 quick 1 APPLIED")
		equal(t, "answers 503 for", b.envoy.answersFor(), "slow")
		equal(t, "report", b.apply(2, some(slow("2"))))
		b.run()
		close(b.shelf.slow)
		var reported []string
		b.eventually("it follows", func() bool { reported = append(reported, b.reported()...); return len(reported) > 0 })
		equal(t, "report", reported, "2 slow 2 APPLIED")
		b.eventually("unused instances are closed", func() bool { open, built := b.shelf.counts(); return open == 2 && built == 3 })
	})
}

func TestClosingANodeClosesInstancesOfUnfinishedBuilds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.shelf.slow = make(chan struct{})
		b.apply(1, some(bundleWith("slow", "1", attachment("slow", `{"slow":true}`))))
		time.AfterFunc(10*time.Millisecond, func() { close(b.shelf.slow) })
		b.node.Close()
		if open, built := b.shelf.counts(); open != 0 || built != 1 {
			t.Errorf("expected the one instance to be closed, got %d of %d open", open, built)
		}
	})
}

func TestAnAPIThatTheControllerCannotOfferIsAnswered503IfItDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		b := newBench(t, newScriptedEnvoy(true), directory)
		b.apply(1, some(bundle("a", "1")))
		gone := func(api string) *nodev1.ApiBundle {
			return &nodev1.ApiBundle{Api: api, Digest: "u", Context: "/" + api, Unserved: "no policy tag:v1.0.0 in this build"}
		}
		equal(t, "report", b.apply(2, some(gone("a"), gone("b"))))
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "a|1")
		equal(t, "answers 503 for", b.envoy.answersFor(), "b")
		b.node.Close()

		second := newBench(t, newScriptedEnvoy(false), directory)
		_, routes = second.envoy.serves()
		equal(t, "routes", routes, "a|1")
		equal(t, "after a restart, answers 503 for", second.envoy.answersFor(), "b")
		if refs := second.node.hello().GetBundles(); len(refs) != 2 || controllertest.RefText(refs[1]) != "b ?" {
			t.Errorf("expected the hello to name both, so that a controller can take b away, got %v", refs)
		}
		second.apply(3, some(bundle("b", "1")))
		equal(t, "answers 503 for", second.envoy.answersFor())
		second.node.Close()
	})
}

func TestRejectedAPIsAreRetriedWithOtherPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.node.SetPolicies(nil)
		equal(t, "report", b.apply(1, some(bundle("a", "1"))), "1 a 1 REJECTED")
		b.run()
		b.node.SetPolicies(b.shelf.policies())
		b.eventually("it comes up", func() bool { _, routes := b.envoy.serves(); return strings.Join(routes, " ") == "a|1" })
	})
}

func TestTheLastGoodStateKeepsVersionsThatNoEnvoyHasConfirmedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		first := newBench(t, newScriptedEnvoy(true), directory)
		first.apply(1, some(bundle("a", "1")))
		first.node.Close()
		second := &bench{t: t, envoy: newScriptedEnvoy(false), shelf: &shelf{fail: errors.New("away")}}
		made := newBenchWith(t, second, directory)
		equal(t, "answers 503 for", made.envoy.answersFor(), "a")
		made.shelf.failing(nil)
		made.apply(2, some(bundle("a", "1"))) // without an Envoy
		if state, err := made.node.state.Read(statedir.LastGood); err != nil || len(state.GetBundles()) != 1 || state.GetBundles()[0].GetUnserved() != "" {
			t.Errorf("expected the last good state to keep the API, got %v, %v", state, err)
		}
		made.node.Close()
		if _, err := os.Stat(filepath.Join(directory, statedir.Pending)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("expected no pending state, got %v", err)
		}
	})
}

func TestAnAPIWhosePolicyIsNoLongerReadyIsPendingUntilItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("a", "1")))
		b.run()
		reported := func() (lines []string) {
			b.eventually("a report", func() bool { lines = append(lines, b.reported()...); return len(lines) > 0 })
			return lines
		}
		b.shelf.losing(errors.New("prepare: no route to host"))
		equal(t, "report", reported(), "1 a 1 PENDING")
		if ill := b.node.snapshot.Load().notReady; len(ill.GetApis()) != 1 || !strings.Contains(ill.GetApis()[0].GetReason(), `operation "GET /1": prepare: no route to host`) {
			t.Errorf("expected a report to the next controller, got %v", ill)
		}
		b.shelf.losing(nil)
		equal(t, "report", reported(), "1 a 1 APPLIED")
		if ill := b.node.snapshot.Load().notReady; ill != nil {
			t.Errorf("expected nothing to be wrong any more, got %v", ill)
		}
	})
}

func TestABuildThatFailsIsRepeatedWithTheNewPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.shelf.slow = make(chan struct{})
		fresh := attachment("fresh", "{}")
		fresh.PolicyName = "fresh"
		equal(t, "report", b.apply(1, some(bundleWith("a", "1", attachment("slow", `{"slow":true}`), fresh))))
		b.run()
		more := b.shelf.policies()[0]
		more.Name = "fresh"
		b.node.SetPolicies(append(b.shelf.policies(), more))
		b.eventually("the node knows", func() bool { return len(b.node.renewed) == 0 })
		close(b.shelf.slow)
		b.eventually("it comes up", func() bool { _, routes := b.envoy.serves(); return strings.Join(routes, " ") == "a|1" })
	})
}

func TestARepeatedBundleThatIsNotReadyStaysPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("a", "1")))
		b.shelf.losing(errors.New("prepare: no route to host"))
		b.node.checkReadiness()
		equal(t, "report", b.reported(), "1 a 1 PENDING")
		b.apply(2, some(bundle("a", "1")))
		b.node.checkReadiness()
		equal(t, "report after it was applied", b.reported(), "2 a 1 PENDING")
		b.node.Close()
	})
}

func TestAMovedAPIIsAnswered503AtItsNewContextUntilItIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.apply(1, some(bundle("a", "1"), bundle("b", "1"), bundle("c", "1")))
		moved, deeper := bundle("a", "2"), bundle("c", "2")
		moved.Context, deeper.Context = "/elsewhere", "/c/below" // the API below is served as before
		b.shelf.failing(errors.New("no route to host"))
		equal(t, "report", b.apply(2, some(moved, bundle("b", "2"), deeper)), "2 a 2 PENDING", "2 b 2 PENDING", "2 c 2 PENDING")
		_, routes := b.envoy.serves()
		equal(t, "routes", routes, "a|1", "b|1", "c|1")
		equal(t, "answers 503 for", b.envoy.answersFor(), "a")
		b.shelf.failing(nil)
		equal(t, "report", b.apply(3, some(moved)), "3 a 2 APPLIED")
		equal(t, "answers 503 for", b.envoy.answersFor())
		b.node.Close()
	})
}

func TestTheLastGoodVersionComesUpBeforeANewerOneIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory, slow := t.TempDir(), bundleWith("a", "1", attachment("slow", `{"slow":true}`))
		first := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{slow: make(chan struct{})}}
		close(first.shelf.slow)
		newBenchWith(t, first, directory).apply(1, some(slow))
		first.node.Close()

		second := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{slow: make(chan struct{})}}
		newBenchWith(t, second, directory).apply(2, some(bundleWith("a", "2", attachment("x", `{"panic":true}`))))
		second.run()
		close(second.shelf.slow)
		var reported []string
		second.eventually("both reports", func() bool { reported = append(reported, second.reported()...); return len(reported) == 2 })
		equal(t, "report", reported, "1 a 1 APPLIED", "2 a 2 REJECTED")
		_, routes := second.envoy.serves()
		equal(t, "routes", routes, "a|1")
	})
}

func TestARepeatedBundleDoesNotRestartItsBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.shelf.slow = make(chan struct{})
		slow := some(bundleWith("a", "1", attachment("slow", `{"slow":true}`)))
		equal(t, "report", b.apply(1, slow))
		equal(t, "report", b.apply(2, slow))
		b.run()
		close(b.shelf.slow)
		var reported []string
		b.eventually("a report", func() bool { reported = append(reported, b.reported()...); return len(reported) > 0 })
		equal(t, "report", reported, "2 a 1 APPLIED")
		if _, built := b.shelf.counts(); built != 1 {
			t.Errorf("expected one instance to be built, got %d", built)
		}
	})
}

func TestALastGoodVersionThatIsNeverBuiltDelaysUpdatesBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory, slow := t.TempDir(), bundleWith("a", "1", attachment("slow", `{"slow":true}`))
		first := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{slow: make(chan struct{})}}
		close(first.shelf.slow)
		newBenchWith(t, first, directory).apply(1, some(slow))
		first.node.Close()

		second := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{slow: make(chan struct{})}}
		newBenchWith(t, second, directory).apply(2, some(bundle("a", "2")))
		second.run()
		var reported []string
		second.eventually("a report", func() bool { reported = append(reported, second.reported()...); return len(reported) == 1 })
		equal(t, "report", reported, "2 a 2 APPLIED")
		close(second.shelf.slow)
	})
}
