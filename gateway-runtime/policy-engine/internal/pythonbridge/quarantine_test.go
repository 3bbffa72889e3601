package pythonbridge

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/quarantine"
	"gatewright.dev/sdk/policy/v1alpha"
)

// dieOf ends the process while an execution of the policy is under way there, and returns the execution's result.
func dieOf(t *testing.T, c *conversation, policy v1alpha.Policy) error {
	t.Helper()
	waiting := callWith(t, patience, policy)
	c.nextFrameUnacknowledged()
	c.end <- status.Error(codes.Unavailable, "the process is gone")
	return await.Receive(t, waiting, "the crash").err
}

func TestAPolicyThatKillsIsAnsweredWithoutBeingSentAndTriedAgain(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{QuarantineMin: 200 * time.Millisecond}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		for range 3 {
			wantClass(t, dieOf(t, c, policy), v1alpha.ClassCrashed)
			c = x.greet(t)
			c.configureOne()
			await.Until(t, "the process is back", func() bool { return statsOf(groups, 0).Connected })
		}
		wantClass(t, await.Receive(t, callWith(t, patience, policy), "a refusal").err, v1alpha.ClassCrashed)
		got := groups.Quarantined()
		if len(got) != 1 || got[0].Policy != "add-python-header:v1.0.0" || got[0].API != "orders-v1" || got[0].Instance != "i1" || got[0].Deaths != 3 {
			t.Fatalf("expected the instance with 3 deaths, got %+v", got)
		}
		await.Until(t, "the time is up", func() bool { return groups.Quarantined()[0].LeftMs == 0 })
		answerNext(t, c, callWith(t, patience, policy))
		if got := groups.Quarantined(); len(got) != 0 {
			t.Fatalf("expected the instance to be free, got %+v", got)
		}
		answerNext(t, c, callWith(t, patience, policy))
	})
}

func TestAPolicyThatHoldsTheInterpreterIsUnderQuarantineBeforeItsProcessEnds(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		waiting := callWith(t, patience, policy)
		c.nextFrameUnacknowledged()
		process := statsOf(groups, 0)
		hold := InterpreterHold{Address: process.Address, PID: process.PID, Policy: "add-python-header:v1.0.0", At: "policies/p/policy.py:9"}
		if instance, err := groups.RecordHold(hold); instance != "" || err != nil {
			t.Fatalf("expected no quarantine while the process answers, got %q, %v", instance, err)
		}
		groups.group("default").allProcesses()[0].silent.Store(true)
		if instance, err := groups.RecordHold(hold); instance != "i1" || err != nil {
			t.Fatalf("expected the instance, got %q, %v", instance, err)
		}
		wantMessage(t, await.Receive(t, callWith(t, patience, policy), "a refusal").err,
			"it held the interpreter of an executor process at policies/p/policy.py:9")
		c.end <- status.Error(codes.Unavailable, "killed")
		wantMessage(t, await.Receive(t, waiting, "the crash").err,
			"add-python-header:v1.0.0 held the interpreter of the executor process at policies/p/policy.py:9")
		if got := groups.Quarantined(); len(got) != 1 || got[0].Deaths != 1 || got[0].HeldAt != "policies/p/policy.py:9" {
			t.Fatalf("expected the instance with one death, got %+v", got)
		}
		hold.PID++
		if _, err := groups.RecordHold(hold); err == nil {
			t.Fatal("expected another process to be refused")
		}
	})
}

func wantMessage(t *testing.T, err error, part string) {
	t.Helper()
	if wantClass(t, err, v1alpha.ClassCrashed); !strings.Contains(err.Error(), part) {
		t.Fatalf("expected %q, got %q", part, err)
	}
}

func TestAnAbandonedExecutionMayStillCrashTheProcess(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{QuarantineDeaths: 1}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		wantClass(t, await.Receive(t, callWith(t, 20*time.Millisecond, policy), "a timeout").err, v1alpha.ClassTimeout)
		c.end <- status.Error(codes.Unavailable, "out of memory")
		await.Until(t, "the instance under quarantine", func() bool { return len(groups.Quarantined()) == 1 })
	})
}

func TestARerouteChecksTheQuarantine(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		w := newMachine()
		w.makeAllReady(nil)
		culprit := w.instances[0]
		for range 3 {
			w.group.processCrashed([]quarantine.Candidate{{ID: culprit.id, Alone: true}})
		}
		time.Sleep(w.group.options.QuarantineMin)
		probe, _ := w.group.crashes.Admit(culprit.id)
		reroute := func(instance *instance, probe *quarantine.Probe) *execution {
			e := &execution{instance: instance, probe: probe, answers: make(chan outcome, 1), generation: w.generations.current.Load(),
				deadline: time.Now().Add(patience)}
			w.group.reroute(e)
			return e
		}
		wantClass(t, await.Receive(t, reroute(culprit, nil).answers, "the refusal").err, v1alpha.ClassCrashed)
		for _, e := range []*execution{reroute(culprit, probe), reroute(w.instances[1], nil)} {
			if e.ended.Load() || e.home.Load() == nil {
				t.Fatal("expected the probe, and what is of another instance, to find another process")
			}
		}
	})
}

func TestAStreamIsAnExecutionToTheQuarantine(t *testing.T) {
	withStreams(t, Options{QuarantineDeaths: 1, QuarantineMin: 200 * time.Millisecond}, func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy) {
		r := stream(t, policy, newUpload())
		c.streamBegins()
		c.end <- status.Error(codes.Unavailable, "the process is gone")
		wantClass(t, r.wantError(), v1alpha.ClassCrashed)
		if got := groups.Quarantined(); len(got) != 1 || got[0].Instance != "i1" {
			t.Fatalf("expected the instance of the stream under quarantine, got %+v", got)
		}
		body := newUpload()
		wantClass(t, stream(t, policy, body).wantError(), v1alpha.ClassCrashed)
		body.wantUntouched(t)
	})
}

func TestAStreamThatYieldsAfterAQuarantineEndsIt(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{QuarantineMin: 200 * time.Millisecond}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		for range 3 {
			groups.group("default").processCrashed([]quarantine.Candidate{{ID: policy.(*PythonBridge).instance.id, Alone: true}})
		}
		time.Sleep(groups.options.QuarantineMin)
		r := stream(t, policy, newUpload())
		id := c.streamBegins()
		wantClass(t, stream(t, policy, newUpload()).wantError(), v1alpha.ClassCrashed)
		c.yield(id, "x")
		r.want("x")
		if got := groups.Quarantined(); len(got) != 0 {
			t.Fatalf("expected the instance to be free while its stream goes on, got %+v", got)
		}
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	})
}
