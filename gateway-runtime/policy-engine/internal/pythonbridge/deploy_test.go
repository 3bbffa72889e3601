package pythonbridge

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// deploy runs Deploy beside the script.
func deploy(t testing.TB, groups *Groups, generation uint64, executors ...*scriptedExecutor) <-chan error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	want := Roster{Generation: generation, Executors: map[string][]string{}}
	for _, x := range executors {
		want.Executors["default"] = append(want.Executors["default"], x.address)
	}
	done := make(chan error, 1)
	go func() { done <- groups.Deploy(ctx, want) }()
	return done
}

func wantRefusal(t testing.TB, done <-chan error, reason string) {
	t.Helper()
	if err := await.Receive(t, done, "the refusal"); err == nil || !strings.Contains(err.Error(), reason) {
		t.Fatalf("expected a refusal that says %q, got %v", reason, err)
	}
}

// one is a group of one process that is ready with one policy.
func one(t *testing.T, opts Options) (*Groups, *scriptedExecutor, *conversation, v1alpha.Policy) {
	x := startExecutor(t)
	groups := connect(t, opts, x)
	c := x.greet(t)
	return groups, x, c, bridgeOn(t, groups, c)
}

func answerNext(t *testing.T, c *conversation, waiting <-chan returned) {
	t.Helper()
	c.answer(&executorv1.Action{Id: c.nextFrame().GetExecutions()[0].GetId()})
	if result := await.Receive(t, waiting, "the answer"); result.err != nil {
		t.Fatal(result.err)
	}
}

func callIn(t *testing.T, policy v1alpha.Policy, exchange *v1alpha.ExchangeMetadata) <-chan returned {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	req := request()
	req.Metadata = exchange
	return call(ctx, policy, req)
}

func TestDeployGivesNewExchangesToTheNewGeneration(t *testing.T) {
	groups, _, old, policy := one(t, Options{})
	held := &v1alpha.ExchangeMetadata{}
	answerNext(t, old, callIn(t, policy, held))

	y := startExecutor(t)
	done := deploy(t, groups, 2, y)
	fresh := y.greet(t)
	configure := fresh.nextFrame().GetConfigure()
	if len(configure) != 1 || string(configure[0].GetParameters()) != `{"name":"X-A"}` {
		t.Fatalf("expected the live instance with its parameters, got %v", configure)
	}
	meanwhile := &v1alpha.ExchangeMetadata{}
	answerNext(t, old, callIn(t, policy, meanwhile)) // not ready yet: nothing goes there
	meanwhile.End()
	fresh.reportInstance(configure[0].GetInstance(), nil)
	if err := await.Receive(t, done, "the switch"); err != nil {
		t.Fatal(err)
	}
	if groups.Generation() != 2 {
		t.Fatalf("expected generation 2, got %d", groups.Generation())
	}
	answerNext(t, fresh, callIn(t, policy, &v1alpha.ExchangeMetadata{}))
	answerNext(t, old, callIn(t, policy, held)) // the exchange that began before stays
	if stats := groups.Stats(); len(stats) != 2 || stats[0].Role != "leaving" || stats[1].Role != "serving" {
		t.Fatalf("expected the old process leaving and the new one serving, got %+v", stats)
	}
	held.End()
	old.broken()
	await.Until(t, "the old process gone", func() bool { return len(groups.Stats()) == 1 })
}

func TestSupersededInstancesStayInLeavingProcessesUntilClosed(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		old := x.greet(t)
		policy := bridgeOn(t, groups, old)
		y := startExecutor(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			done <- groups.Deploy(ctx, Roster{Generation: 2, Executors: map[string][]string{"default": {y.address}},
				Superseded: []string{"add-python-header:v1.0.0"}})
		}()
		fresh := y.greet(t)
		if err := await.Receive(t, done, "the switch"); err != nil {
			t.Fatal(err)
		}
		fresh.wantNoFrame() // the old instance is not configured by the new code
		answerNext(t, old, callIn(t, policy, &v1alpha.ExchangeMetadata{}))
		next := bridgeOn(t, groups, fresh)
		answerNext(t, fresh, callIn(t, next, &v1alpha.ExchangeMetadata{}))
		answerNext(t, old, callIn(t, policy, &v1alpha.ExchangeMetadata{}))
		if err := policy.(*PythonBridge).Standing(); err != nil {
			t.Fatalf("expected nothing to be wrong with what goes on as before, got %v", err)
		}
		if err := policy.Close(); err != nil {
			t.Fatal(err)
		}
		await.Until(t, "the old process gone", func() bool { return len(groups.Stats()) == 1 })
		answerNext(t, fresh, callIn(t, next, &v1alpha.ExchangeMetadata{}))
	})
}

func TestAnInstanceThatNoProcessHasIsNotReady(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{Drain: time.Millisecond}, x)
		policy := bridgeOn(t, groups, x.greet(t))
		y := startExecutor(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		go y.greet(t)
		if err := groups.Deploy(ctx, Roster{Generation: 2, Executors: map[string][]string{"default": {y.address}},
			Superseded: []string{"add-python-header:v1.0.0"}}); err != nil {
			t.Fatal(err)
		}
		await.Until(t, "the old process gone", func() bool { return len(groups.Stats()) == 1 })
		if err := policy.(*PythonBridge).Standing(); err == nil {
			t.Error("expected the policy to report that no process runs it, got nothing")
		}
	})
}

func TestDeployReplacesOneProcessOfTheGeneration(t *testing.T) {
	groups, first, second, policy := pair(t, Options{})
	held := callWith(t, patience, policy)
	underWay := first.nextFrame().GetExecutions()[0]
	stays, y := statsOf(groups, 1).Address, startExecutor(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- groups.Deploy(ctx, Roster{Generation: 1, Executors: map[string][]string{"default": {y.address, stays}}})
	}()
	fresh := y.greet(t)
	fresh.configureOne()
	if err := await.Receive(t, done, "the switch"); err != nil {
		t.Fatal(err)
	}
	for calls := 2; calls <= 3; calls++ { // the process with less to do, but never the leaving one
		callWith(t, patience, policy)
		await.Until(t, "the call counted where it goes", func() bool { return loadOf(groups) == calls })
	}
	if a, b := len(fresh.nextFrame().GetExecutions()), len(second.nextFrame().GetExecutions()); a != 1 || b != 1 {
		t.Fatalf("expected one each in the new and in the other process, got %d and %d", a, b)
	}
	first.answer(&executorv1.Action{Id: underWay.GetId()})
	if result := await.Receive(t, held, "the answer of the process that leaves"); result.err != nil {
		t.Fatal(result.err)
	}
	first.broken()
	await.Until(t, "the replaced process gone", func() bool { return len(groups.Stats()) == 2 })
}

// loadOf is the number of executions that wait or are sent, in all processes.
func loadOf(groups *Groups) (load int) {
	for _, process := range groups.Stats() {
		load += process.Queued + process.UnderWay
	}
	return load
}

func TestDeployIsRefused(t *testing.T) {
	failure := &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_EXCEPTION, Message: "KeyError: 'x' (policy.py:7)", Hook: "prepare"}
	cases := map[string]struct {
		script func(*conversation)
		reason string
	}{
		"an instance cannot be prepared": {
			func(c *conversation) {
				c.hello()
				c.reportInstance(c.nextFrame().GetConfigure()[0].GetInstance(), failure)
			},
			"add-python-header:v1.0.0 of API orders-v1: exception: prepare: KeyError: 'x' (policy.py:7)",
		},
		"a policy cannot be imported": {
			func(c *conversation) {
				hello := &executorv1.Hello{Policies: []*executorv1.LoadedPolicy{{Name: "a", Version: "v1.0.0", Failure: failure}}}
				c.reply(&executorv1.ReplyFrame{Hello: hello})
			},
			"policy a:v1.0.0: KeyError: 'x' (policy.py:7)",
		},
		"the process is lost": {
			func(c *conversation) { c.hello(); c.nextFrame(); c.breakStream() },
			"the stream to the executor process broke before it was ready",
		},
	}
	for name, refusal := range cases {
		t.Run(name, func(t *testing.T) {
			groups, _, old, policy := one(t, Options{})
			y := startExecutor(t)
			done := deploy(t, groups, 2, y)
			refusal.script(y.accept(t))
			wantRefusal(t, done, refusal.reason)
			answerNext(t, old, callWith(t, patience, policy))
			if stats := groups.Stats(); len(stats) != 1 || stats[0].Role != "serving" || groups.Generation() != 1 {
				t.Fatalf("expected the old process alone to serve, got %+v in generation %d", stats, groups.Generation())
			}
		})
	}
}

func TestDeployOfAProcessThatNeverComes(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		groups, _, _, _ := one(t, Options{ConfigureTimeout: 50 * time.Millisecond})
		wantRefusal(t, deploy(t, groups, 2, newExecutor(t)), "has not become ready: 0 of 1 policy instances are configured")
	})
}

func TestDeployRefusesInvalidRosters(t *testing.T) {
	groups, x, c, policy := one(t, Options{Generation: 3})
	wantRefusal(t, deploy(t, groups, 2, startExecutor(t)), "expected 3 or later, got 2")
	wantRefusal(t, deploy(t, groups, 4), "expected at least one process, for policy instances run there, got none: add-python-header:v1.0.0 of API orders-v1")
	held := &v1alpha.ExchangeMetadata{}
	defer held.End()
	answerNext(t, c, callIn(t, policy, held))
	y := startExecutor(t)
	done := deploy(t, groups, 4, y)
	y.greet(t).configureOne()
	if err := await.Receive(t, done, "the switch"); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, deploy(t, groups, 5, x), "expected a new address for a new process, got "+x.address+", which belongs to a process of generation 3 that is leaving")
}

func TestFailuresThatServingProcessesShareBlockNoReplacement(t *testing.T) {
	failure := v1alpha.Failf(v1alpha.ClassException, "prepare: no such host")
	failAt := func(i *instance, m *StreamManager) {
		m.mu.Lock()
		defer m.unlock()
		m.failInstance(i.placementIn(m), failure)
	}
	w := newMachine()
	joiner := w.enlist(w.generations.current.Load(), roleJoining)
	w.makeAllReady(nil)
	failAt(w.instances[0], joiner)
	failAt(w.instances[0], w.members[0])
	if _, err := w.group.joined(joiner); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Fatalf("expected a refusal while one process serves the instance, got %v", err)
	}
	failAt(w.instances[0], w.members[1])
	if done, err := w.group.joined(joiner); !done || err != nil {
		t.Fatalf("expected what works nowhere to hold nothing up, got %v, %v", done, err)
	}
}

func TestAPolicyThatFailsAlikeAtManyAPIsIsReportedOnce(t *testing.T) {
	w := newMachine()
	for n := range 7 {
		configure := &executorv1.ConfigureInstance{PolicyName: "greet", PolicyVersion: "v1.0.0", ApiName: fmt.Sprint("api-", n)}
		i := newInstance(configure)
		w.group.addInstance(i)
		w.instances = append(w.instances, i)
	}
	joiner := w.enlist(w.generations.current.Load(), roleJoining)
	w.makeAllReady(nil)
	joiner.mu.Lock()
	for n, i := range w.instances[len(w.instances)-7:] {
		why := "no such host"
		if n == 6 {
			why = "no such file"
		}
		joiner.failInstance(i.placementIn(joiner), v1alpha.Failf(v1alpha.ClassException, "prepare: %s", why))
	}
	joiner.unlock()
	_, err := w.group.joined(joiner)
	want := "greet:v1.0.0 of API api-6: exception: prepare: no such file\n" +
		"greet:v1.0.0 of the APIs api-0, api-1, api-2, api-3, api-4 and 1 more: exception: prepare: no such host"
	if err == nil || err.Error() != want {
		t.Errorf("expected %s, got %v", want, err)
	}
}

func TestAProcessThatLeavesIsCutOffInTheEnd(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		groups, _, old, policy := one(t, Options{Drain: 20 * time.Millisecond})
		held := callWith(t, patience, policy)
		old.nextFrame()
		y := startExecutor(t)
		done := deploy(t, groups, 2, y)
		y.greet(t).configureOne()
		if err := await.Receive(t, done, "the switch"); err != nil {
			t.Fatal(err)
		}
		wantClass(t, await.Receive(t, held, "the crash").err, v1alpha.ClassCrashed)
		await.Until(t, "the old process gone", func() bool { return len(groups.Stats()) == 1 })
	})
}

func TestAProcessThatAnswersIsPreferred(t *testing.T) {
	for name, doubt := range map[string]func(*StreamManager){
		"it answers no health check":       func(m *StreamManager) { m.silent.Store(true) },
		"its shared event loop is blocked": func(m *StreamManager) { m.serving.Store(false) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newMachine()
			for _, m := range w.members {
				w.attach(m)
			}
			first, second := w.members[0], w.members[1]
			doubt(first)
			e := &execution{instance: w.instances[0], generation: w.generations.current.Load()}
			if picked := w.group.pick(e).home; picked != second {
				t.Fatal("expected the process that answers its health checks, and serves")
			}
			doubt(second)
			if picked := w.group.pick(e).home; picked != first {
				t.Fatal("expected one that lags rather than none")
			}
		})
	}
}

func TestAProcessThatConfiguresAnInstanceIsPreferredToOneWithABlockedEventLoop(t *testing.T) {
	w := newMachine()
	for _, m := range w.members {
		w.attach(m)
	}
	blocked, configures := w.members[0], w.members[1]
	blocked.serving.Store(false)
	e := &execution{instance: w.instances[0], generation: w.generations.current.Load()}
	for _, p := range e.instance.placements() {
		p.setState(stateConfigured)
		if p.home == blocked {
			p.setState(stateReady)
		}
	}
	if picked := w.group.pick(e).home; picked != configures {
		t.Fatal("expected the process that will have the instance ready")
	}
}

func TestDeployLeavesAGroupAloneWhoseProcessIsNamedAgain(t *testing.T) {
	x, stays := startExecutor(t), startExecutor(t)
	groups := NewGroups(map[string][]string{"changed": {x.address}, "kept": {stays.address}}, Options{}, quiet)
	t.Cleanup(groups.Close)
	old, other := x.greet(t), stays.greet(t)
	ready(t, groups)
	changed, kept := bridgeIn(t, groups, "changed", old), bridgeIn(t, groups, "kept", other)
	held := &v1alpha.ExchangeMetadata{}
	answerNext(t, other, callIn(t, kept, held))

	y := startExecutor(t)
	done := make(chan error, 1)
	go func() {
		done <- groups.Deploy(t.Context(), Roster{Generation: 2, Executors: map[string][]string{"changed": {y.address}, "kept": {stays.address}}})
	}()
	fresh := y.greet(t)
	fresh.configureOne()
	if err := await.Receive(t, done, "the switch"); err != nil {
		t.Fatal(err)
	}
	began := &v1alpha.ExchangeMetadata{}
	answerNext(t, other, callIn(t, kept, began))
	answerNext(t, fresh, callIn(t, changed, began))
	answerNext(t, old, callIn(t, changed, held)) // it began before, in the group that stays
	answerNext(t, other, callIn(t, kept, held))
	for _, process := range groups.Stats() {
		want := map[string]string{x.address: "leaving", y.address: "serving", stays.address: "serving"}[process.Address]
		if process.Role != want {
			t.Fatalf("expected the process at %s to be %s, it is %s", process.Address, want, process.Role)
		}
	}
	held.End()
	old.broken()
	await.Until(t, "the old process gone", func() bool { return len(groups.Stats()) == 2 })
}
