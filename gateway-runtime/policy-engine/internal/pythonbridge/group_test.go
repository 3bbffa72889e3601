package pythonbridge

import (
	"context"
	"strings"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

func pair(t *testing.T, opts Options) (groups *Groups, first, second *conversation, policy v1alpha.Policy) {
	x, y := startExecutor(t), startExecutor(t)
	groups = connect(t, opts, x, y)
	first, second = x.greet(t), y.greet(t)
	return groups, first, second, bridgeOn(t, groups, first, second)
}

func TestFewestUnderWayIsPicked(t *testing.T) {
	groups, first, second, policy := pair(t, Options{})
	for range 3 {
		callWith(t, patience, policy)
		if got := first.nextFrame(); len(got.GetExecutions()) != 1 {
			t.Fatalf("expected the first process to be picked when both have as many, got %v", got)
		}
		callWith(t, patience, policy)
		if got := second.nextFrame(); len(got.GetExecutions()) != 1 {
			t.Fatalf("expected the one with fewer to be picked, got %v", got)
		}
	}
	if a, b := statsOf(groups, 0), statsOf(groups, 1); a.UnderWay != 3 || b.UnderWay != 3 {
		t.Fatalf("expected 3 and 3 under way, got %d and %d", a.UnderWay, b.UnderWay)
	}
}

func TestQueuedMoveToAnotherProcess(t *testing.T) {
	groups, first, second, policy := pair(t, Options{CreditFrames: 1})
	sent := callWith(t, patience, policy)
	first.nextFrameUnacknowledged()
	other := callWith(t, patience, policy)
	second.nextFrameUnacknowledged()
	queued := []<-chan returned{callWith(t, patience, policy)}
	await.Until(t, "one queued in the first", func() bool { return statsOf(groups, 0).Queued == 1 })
	queued = append(queued, callWith(t, patience, policy))
	await.Until(t, "one queued in each", func() bool { return statsOf(groups, 0).Queued == 1 && statsOf(groups, 1).Queued == 1 })
	first.breakStream()
	wantClass(t, await.Receive(t, sent, "the crash").err, v1alpha.ClassCrashed)
	await.Until(t, "both queued in the second", func() bool { return statsOf(groups, 1).Queued == 2 })
	second.answer(&executorv1.Action{Id: 1})
	await.Receive(t, other, "the answer of the second")
	second.ack(1)
	for _, execution := range second.nextFrame().GetExecutions() {
		second.answer(&executorv1.Action{Id: execution.GetId()})
	}
	for _, answer := range queued {
		if result := await.Receive(t, answer, "an answer"); result.err != nil {
			t.Fatalf("expected the moved execution to succeed, got %v", result.err)
		}
	}
}

func TestReadyProcessIsPreferredToOneThatConfigures(t *testing.T) {
	x, y := startExecutor(t), startExecutor(t)
	groups := connect(t, Options{}, x, y)
	first, second := x.greet(t), y.greet(t)
	policy := bridgeOn(t, groups, first, second)
	first.breakStream()
	first = x.greet(t)
	ready(t, groups)
	first.nextFrame() // asked to configure, and does not answer
	for range 4 {
		answer := callWith(t, patience, policy)
		second.answer(&executorv1.Action{Id: second.nextFrame().GetExecutions()[0].GetId()})
		await.Receive(t, answer, "the answer of the ready process")
	}
}

func TestFactoryReturnsTheReason(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{}, x)
	c := x.greet(t)
	done := build(groups)
	number := c.nextFrame().GetConfigure()[0].GetInstance()
	c.reportInstance(number, &executorv1.Failure{
		FailureClass: executorv1.FailureClass_FAILURE_CLASS_EXCEPTION, Policy: "add-python-header:v1.0.0", Hook: "import",
		Message: "SyntaxError in policy.py, line 3",
	})
	err := await.Receive(t, done, "the refusal").err
	wantClass(t, err, v1alpha.ClassException)
	if !strings.Contains(err.Error(), "add-python-header:v1.0.0 import: SyntaxError in policy.py, line 3") {
		t.Fatalf("expected the executor's reason, got %v", err)
	}
	if frame := c.nextFrame(); len(frame.GetClose()) != 1 || frame.GetClose()[0] != number {
		t.Fatalf("expected the refused instance to be closed, got %v", frame)
	}
	if got := statsOf(groups, 0).Instances; got != 0 {
		t.Fatalf("expected no instance to stay, got %d", got)
	}
}

func TestFactoryRefusesWhenOneOfTwoProcessesFails(t *testing.T) {
	x, y := startExecutor(t), startExecutor(t)
	groups := connect(t, Options{}, x, y)
	first, second := x.greet(t), y.greet(t)
	ready(t, groups)
	done := build(groups)
	first.configureOne()
	second.reportInstance(second.nextFrame().GetConfigure()[0].GetInstance(), &executorv1.Failure{Message: "no memory"})
	wantClass(t, await.Receive(t, done, "the refusal").err, v1alpha.ClassException)
}

func TestFactoryGivesUpOnAnExecutorThatIsAway(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		groups := connect(t, Options{ConnectTimeout: 20 * time.Millisecond}, newExecutor(t))
		err := await.Receive(t, build(groups), "the refusal").err
		wantClass(t, err, v1alpha.ClassUnavailable)
		if !strings.Contains(err.Error(), groups.Stats()[0].Address) {
			t.Fatalf("expected the address in the error, got %v", err)
		}
	})
}

func TestFactoryWaitsForAnExecutorThatStarts(t *testing.T) {
	x := newExecutor(t)
	groups := connect(t, Options{}, x)
	done := build(groups)
	x.start(t)
	x.greet(t).configureOne()
	if result := await.Receive(t, done, "the policy"); result.err != nil {
		t.Fatal(result.err)
	}
}

func TestFactoryGivesUpOnASlowPrepare(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{ConfigureTimeout: 20 * time.Millisecond}, x)
		c := x.greet(t)
		done := build(groups)
		number := c.nextFrame().GetConfigure()[0].GetInstance()
		wantClass(t, await.Receive(t, done, "the refusal").err, v1alpha.ClassTimeout)
		if frame := c.nextFrame(); len(frame.GetClose()) != 1 || frame.GetClose()[0] != number {
			t.Fatalf("expected the instance to be closed, got %v", frame)
		}
		c.reportInstance(number, nil) // too late, and harmless
		c.ack(0)
		if !statsOf(groups, 0).Connected {
			t.Fatal("expected the stream to stay up")
		}
	})
}

func TestFactoryGivesUpOnAnInstanceThatKillsItsProcess(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		ready(t, groups)
		done := build(groups)
		c.nextFrame()
		c.breakStream()
		c = x.greet(t) // once may be chance: it is tried again
		if frame := c.nextFrame(); len(frame.GetConfigure()) != 1 {
			t.Fatalf("expected a second try, got %v", frame)
		}
		c.breakStream()
		err := await.Receive(t, done, "the refusal").err
		wantClass(t, err, v1alpha.ClassCrashed)
		c = x.greet(t)
		ready(t, groups)
		c.wantNoFrame()
	})
}

func TestFactoryOfAnUnknownGroupNamesTheKnown(t *testing.T) {
	groups := connect(t, Options{}, newExecutor(t))
	_, err := groups.BridgeFactory("gpu")(metadata, nil)
	if err == nil || !strings.Contains(err.Error(), "group default") || !strings.Contains(err.Error(), "--executor gpu=unix:PATH") {
		t.Fatalf("expected the known groups and the cure, got %v", err)
	}
	none := NewGroups(nil, Options{}, quiet)
	defer none.Close()
	if _, err := none.BridgeFactory("default")(metadata, nil); err == nil || !strings.Contains(err.Error(), "no group") {
		t.Fatalf("expected to hear that there is no group, got %v", err)
	}
}

func TestFactoryRefusesNamesThatAreNotText(t *testing.T) {
	groups := connect(t, Options{}, newExecutor(t))
	odd := metadata
	odd.APIName = "\xff"
	if _, err := groups.BridgeFactory("default")(odd, nil); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Fatalf("expected the name to be refused, got %v", err)
	}
}

func TestCloseEndsExecutionsUnderWay(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{CreditFrames: 1}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	sent := callWith(t, patience, policy)
	c.nextFrameUnacknowledged()
	queued := callWith(t, patience, policy)
	await.Until(t, "one queued", func() bool { return statsOf(groups, 0).Queued == 1 })
	building := build(groups)
	await.Until(t, "a second instance", func() bool { return statsOf(groups, 0).Instances == 2 })
	groups.Close()
	wantClass(t, await.Receive(t, sent, "the crash").err, v1alpha.ClassCrashed)
	wantClass(t, await.Receive(t, queued, "the refusal").err, v1alpha.ClassUnavailable)
	if await.Receive(t, building, "the end of the factory").err == nil {
		t.Fatal("expected the factory to fail")
	}
	if err := groups.Ready(context.Background()); err == nil {
		t.Fatal("expected closed groups never to be ready")
	}
}

func refusal(id uint64) *executorv1.Action {
	return &executorv1.Action{Id: id, Failure: &executorv1.Failure{
		FailureClass: executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE, Message: "it is stopping",
	}}
}

func TestAnExecutionThatWasNotStartedGoesToAnotherProcess(t *testing.T) {
	groups, first, second, policy := pair(t, Options{})
	answer := callWith(t, patience, policy)
	first.answer(refusal(first.nextFrame().GetExecutions()[0].GetId()))
	execution := second.nextFrame().GetExecutions()[0]
	wantBytes(t, "request id", execution.GetRequestId(), "r-1")
	second.answer(&executorv1.Action{Id: execution.GetId()})
	if result := await.Receive(t, answer, "the answer"); result.err != nil {
		t.Fatal(result.err)
	}
	if got := statsOf(groups, 0).UnderWay; got != 0 {
		t.Fatalf("expected nothing under way in the first, got %d", got)
	}
}

func TestAnExecutionThatNoProcessStartsIsUnavailable(t *testing.T) {
	_, first, second, policy := pair(t, Options{})
	answer := callWith(t, patience, policy)
	first.answer(refusal(first.nextFrame().GetExecutions()[0].GetId()))
	second.answer(refusal(second.nextFrame().GetExecutions()[0].GetId()))
	wantClass(t, await.Receive(t, answer, "the refusal").err, v1alpha.ClassUnavailable)
}

func TestOrderlyEndReroutesUnacknowledgedExecutions(t *testing.T) {
	_, first, second, policy := pair(t, Options{})
	acknowledged := callWith(t, patience, policy)
	first.nextFrame()
	other := callWith(t, patience, policy)
	second.nextFrame()
	late := callWith(t, patience, policy)
	execution := first.nextFrameUnacknowledged().GetExecutions()[0]
	first.end <- nil
	wantClass(t, await.Receive(t, acknowledged, "the crash").err, v1alpha.ClassCrashed)
	moved := second.nextFrame().GetExecutions()[0]
	second.answer(&executorv1.Action{Id: moved.GetId()}, &executorv1.Action{Id: moved.GetId() - 1})
	for _, answer := range []<-chan returned{late, other} {
		if result := await.Receive(t, answer, "the answer"); result.err != nil {
			t.Fatalf("expected the second process to answer %s, got %v", execution.GetRequestId(), result.err)
		}
	}
}
