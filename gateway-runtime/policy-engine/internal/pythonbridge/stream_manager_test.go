package pythonbridge

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestConfiguresOnceThenExecutes(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{}, x)
	c := x.greet(t)
	done := build(groups)
	got := c.configureOne()
	if got.GetPolicyName() != "add-python-header" || got.GetPolicyVersion() != "v1.0.0" || string(got.GetParameters()) != `{"name":"X-A"}` ||
		string(got.GetSystemParameters()) != `{"region":"eu"}` || got.GetApiName() != "orders-v1" || got.GetApiVersion() != "v1.0" || got.GetMaxConcurrency() != 16 ||
		got.GetOperation() != "GET /{id}" || got.GetPrepareTimeoutMs() != 1 {
		t.Fatalf("the instance was configured with %v", got)
	}
	policy := await.Receive(t, done, "the policy").policy
	for range 3 {
		answer := callWith(t, patience, policy)
		frame := c.nextFrame()
		if len(frame.GetConfigure()) != 0 || len(frame.GetExecutions()) != 1 || frame.GetExecutions()[0].GetInstance() != got.GetInstance() {
			t.Fatalf("expected one execution of instance %d and no configuration, got %v", got.GetInstance(), frame)
		}
		c.answer(&executorv1.Action{Id: frame.GetExecutions()[0].GetId()})
		if result := await.Receive(t, answer, "the answer"); result.action != nil || result.err != nil {
			t.Fatalf("expected to pass on unchanged, got %v, %v", result.action, result.err)
		}
	}
}

func TestThePrepareTimeoutIsAddedToTheWait(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{ConfigureTimeout: time.Millisecond}, x)
		c := x.greet(t)
		slow := metadata
		slow.PrepareTimeout = 30 * time.Second
		done := buildAs(groups, slow)
		c.nextFrame()
		select {
		case got := <-done:
			t.Fatalf("expected to wait for as long as prepare may take, got %v", got.err)
		case <-time.After(29 * time.Second):
		}
		quick := metadata
		quick.PrepareTimeout = 0
		if err := await.Receive(t, buildAs(groups, quick), "the refusal").err; err == nil || !strings.Contains(err.Error(), "not configured within 1ms") {
			t.Fatalf("expected a timeout, got %v", err)
		}
	})
}

func TestCreditHoldsFramesBackAndCoalesces(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{CreditFrames: 2}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		var answers []<-chan returned
		for want := 1; want <= 2; want++ {
			answers = append(answers, callWith(t, patience, policy))
			if frame := c.nextFrameUnacknowledged(); len(frame.GetExecutions()) != 1 {
				t.Fatalf("expected one execution in a frame, got %v", frame)
			}
		}
		for range 5 {
			answers = append(answers, callWith(t, patience, policy))
		}
		await.Until(t, "five queued", func() bool { return statsOf(groups, 0).Queued == 5 })
		c.answer(&executorv1.Action{Id: 1}) // an answer is not an acknowledgement
		await.Receive(t, answers[0], "the first answer")
		c.wantNoFrame()
		c.ack(1)
		frame := c.nextFrameUnacknowledged()
		if len(frame.GetExecutions()) != 5 {
			t.Fatalf("expected what arrived meanwhile, 5 executions, in one frame, got %d", len(frame.GetExecutions()))
		}
		for id := uint64(7); id >= 2; id-- { // answers come out of order
			c.answer(&executorv1.Action{Id: id})
		}
		for _, answer := range answers[1:] {
			if result := await.Receive(t, answer, "an answer"); result.err != nil {
				t.Fatal(result.err)
			}
		}
	})
}

func TestFullQueueIsOverloadedAtOnce(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{CreditFrames: 1, QueueLength: 3}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	callWith(t, patience, policy)
	c.nextFrameUnacknowledged()
	for range 3 {
		callWith(t, patience, policy)
	}
	await.Until(t, "a full queue", func() bool { return statsOf(groups, 0).Queued == 3 })
	result := await.Receive(t, callWith(t, patience, policy), "the refusal")
	wantClass(t, result.err, v1alpha.ClassOverloaded)
}

func TestDeadlineCountsTheTimeInTheQueue(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{CreditFrames: 1}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		first := callWith(t, patience, policy)
		c.nextFrameUnacknowledged()
		queued := await.Receive(t, callWith(t, 20*time.Millisecond, policy), "the timeout")
		wantClass(t, queued.err, v1alpha.ClassTimeout)
		if !errors.Is(queued.err, context.DeadlineExceeded) {
			t.Fatalf("expected it to wrap the context's error, got %v", queued.err)
		}
		if got := statsOf(groups, 0); got.Queued != 0 || got.UnderWay != 1 {
			t.Fatalf("expected the queue to be empty again, got %+v", got)
		}
		c.ack(1)
		c.answer(&executorv1.Action{Id: 1})
		await.Receive(t, first, "the first answer")
		c.wantNoFrame() // what was never sent needs no cancel
	})
}

func TestTimeoutCancelsAndDropsTheLateAnswer(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		answer := callWith(t, 300*time.Millisecond, policy)
		execution := c.nextFrame().GetExecutions()[0]
		if left := execution.GetTimeoutUs(); left == 0 || left > 300_000 {
			t.Fatalf("expected timeout_us within (0, 300000], got %d", left)
		}
		err := await.Receive(t, answer, "the timeout").err
		wantClass(t, err, v1alpha.ClassTimeout)
		if !v1alpha.AsFailure(err).Logged {
			t.Fatal("expected the executor to say where it is, since it answers its health checks")
		}
		frame := c.nextFrame()
		if len(frame.GetCancel()) != 1 || frame.GetCancel()[0] != execution.GetId() {
			t.Fatalf("expected a frame that cancels %d, got %v", execution.GetId(), frame)
		}
		late := frame.GetTimedOut()
		if len(late) != 1 || late[0].GetId() != execution.GetId() || late[0].GetInstance() != execution.GetInstance() ||
			late[0].GetTimeoutUs() != execution.GetTimeoutUs() || late[0].GetPhase() != execution.GetPhase() ||
			string(late[0].GetRequestId()) != string(execution.GetRequestId()) || string(late[0].GetOperation()) != string(execution.GetOperation()) {
			t.Fatalf("expected it to be reported as timed out, since it was sent, got %v", late)
		}
		c.answer(&executorv1.Action{Id: execution.GetId()}, &executorv1.Action{Id: 9999})
		await.Until(t, "the late and the unknown answer counted", func() bool { return statsOf(groups, 0).DroppedAnswers == 2 })
		if !statsOf(groups, 0).Connected {
			t.Fatal("expected the stream to stay up")
		}
	})
}

func TestTimeoutInAProcessThatDoesNotAnswerIsForTheEngineToLog(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{HealthInterval: time.Hour}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		policy.(*PythonBridge).instance.placements()[0].home.silent.Store(true)
		answer := callWith(t, 50*time.Millisecond, policy)
		c.nextFrame()
		if v1alpha.AsFailure(await.Receive(t, answer, "the timeout").err).Logged {
			t.Fatal("expected the engine to log it")
		}
	})
}

func TestAnExchangeThatEndsCancelsItsExecution(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	ctx, leave := context.WithCancel(context.Background())
	answer := call(ctx, policy, request())
	execution := c.nextFrame().GetExecutions()[0]
	leave()
	wantCancelled(t, await.Receive(t, answer, "the error").err)
	if frame := c.nextFrame(); len(frame.GetCancel()) != 1 || frame.GetCancel()[0] != execution.GetId() || len(frame.GetTimedOut()) != 0 {
		t.Fatalf("expected a frame that cancels %d, got %v", execution.GetId(), frame)
	}
	wantCancelled(t, await.Receive(t, call(ctx, policy, request()), "a refusal").err)
}

func TestBreakCrashesTheSentAndFailsTheQueued(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{CreditFrames: 1}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	sent := callWith(t, patience, policy)
	c.nextFrameUnacknowledged()
	queued := callWith(t, patience, policy)
	await.Until(t, "one queued", func() bool { return statsOf(groups, 0).Queued == 1 })
	c.breakStream()
	wantClass(t, await.Receive(t, sent, "the crash").err, v1alpha.ClassCrashed)
	wantClass(t, await.Receive(t, queued, "the refusal").err, v1alpha.ClassUnavailable)
	if got := statsOf(groups, 0); got.Queued != 0 || got.UnderWay != 0 {
		t.Fatalf("expected nothing under way, got %+v", got)
	}
	wantClass(t, await.Receive(t, callWith(t, patience, policy), "a refusal").err, v1alpha.ClassUnavailable)
}

func TestReconnectConfiguresAgainBeforeItExecutes(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		x.server.Stop()
		await.Until(t, "the loss noticed", func() bool { return !statsOf(groups, 0).Connected })
		x.start(t)
		c = x.greet(t)
		ready(t, groups)
		answer := callWith(t, patience, policy) // parked until its instance is ready
		frame := c.nextFrame()
		if len(frame.GetExecutions()) != 0 || len(frame.GetConfigure()) != 1 || string(frame.GetConfigure()[0].GetParameters()) != `{"name":"X-A"}` {
			t.Fatalf("expected the configuration again, with parameters, and no execution, got %v", frame)
		}
		c.wantNoFrame()
		c.reportInstance(frame.GetConfigure()[0].GetInstance(), nil)
		frame = c.nextFrame()
		c.answer(&executorv1.Action{Id: frame.GetExecutions()[0].GetId()})
		if result := await.Receive(t, answer, "the answer"); result.err != nil {
			t.Fatal(result.err)
		}
		if got := statsOf(groups, 0).Reconnects; got != 1 {
			t.Fatalf("expected 1 reconnect, got %d", got)
		}
	})
}

func TestInstanceThatFailsAfterAReconnectIsUnavailableUntilItWorks(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		c.breakStream()
		c = x.greet(t)
		ready(t, groups)
		parked := callWith(t, patience, policy)
		await.Until(t, "one parked", func() bool { return statsOf(groups, 0).Queued == 1 })
		number := c.nextFrame().GetConfigure()[0].GetInstance()
		c.reportInstance(number, &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_EXCEPTION, Message: "no such host", Hook: "prepare"})
		failed := await.Receive(t, parked, "the failure").err
		wantClass(t, failed, v1alpha.ClassUnavailable)
		if !strings.Contains(failed.Error(), "prepare: no such host") {
			t.Fatalf("expected the executor's reason, got %v", failed)
		}
		if standing := policy.(*PythonBridge).Standing(); standing == nil || standing.Error() != "exception: prepare: no such host" {
			t.Fatalf("expected the reason, got %v", standing)
		}
		again := c.nextFrame()
		if len(again.GetConfigure()) != 1 || again.GetConfigure()[0].GetInstance() == number || len(again.GetClose()) != 1 || again.GetClose()[0] != number {
			t.Fatalf("expected %d closed and its instance configured under a new number, got %v", number, again)
		}
		wantClass(t, await.Receive(t, callWith(t, patience, policy), "the failure").err, v1alpha.ClassUnavailable)
		c.reportInstance(again.GetConfigure()[0].GetInstance(), nil)
		await.Until(t, "the instance ready", func() bool {
			return policy.(*PythonBridge).instance.placements()[0].is(stateReady)
		})
		if standing := policy.(*PythonBridge).Standing(); standing != nil {
			t.Fatalf("expected nothing to be wrong, got %v", standing)
		}
		answer := callWith(t, patience, policy)
		c.answer(&executorv1.Action{Id: c.nextFrame().GetExecutions()[0].GetId()})
		if result := await.Receive(t, answer, "the answer"); result.err != nil {
			t.Fatal(result.err)
		}
	})
}

func TestCloseTellsTheExecutor(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		number := policy.(*PythonBridge).instance.placements()[0].number
		for range 2 {
			if err := policy.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if frame := c.nextFrame(); len(frame.GetClose()) != 1 || frame.GetClose()[0] != number {
			t.Fatalf("expected a frame that closes %d once, got %v", number, frame)
		}
		wantClass(t, await.Receive(t, callWith(t, patience, policy), "the refusal").err, v1alpha.ClassUnavailable)
		c.breakStream()
		c = x.greet(t)
		ready(t, groups)
		c.wantNoFrame() // a closed instance is not configured again
	})
}

func TestViolationsBreakTheStream(t *testing.T) {
	action := &executorv1.ReplyFrame{Actions: []*executorv1.Action{{Id: 1}}}
	cases := map[string]func(*conversation){
		"a reply without hello":            func(c *conversation) { c.reply(action) },
		"a second hello":                   func(c *conversation) { c.hello(); c.hello() },
		"more acknowledged than were sent": func(c *conversation) { c.hello(); c.ack(3) },
	}
	for name, violate := range cases {
		t.Run(name, func(t *testing.T) {
			x := startExecutor(t)
			groups := connect(t, Options{}, x)
			c := x.accept(t)
			violate(c)
			c.broken()
			x.greet(t) // and it comes back
			ready(t, groups)
		})
	}
}

func TestSilentProcessIsNotReady(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{HelloTimeout: 20 * time.Millisecond}, x)
		x.accept(t).broken()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		defer cancel()
		err := groups.Ready(ctx)
		if err == nil || !strings.Contains(err.Error(), `executor group "default": 0 of 1 processes connected (`+x.address) {
			t.Fatalf("expected an error with the missing group, got %v", err)
		}
		if statsOf(groups, 0).Reconnects != 0 {
			t.Fatal("expected no stream to count before hello")
		}
	})
}
