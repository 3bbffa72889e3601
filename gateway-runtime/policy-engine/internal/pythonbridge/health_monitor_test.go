package pythonbridge

import (
	"errors"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestFailedHealthChecksBreakTheStream(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		answer := callWith(t, patience, policy)
		c.nextFrame()
		x.setHealth(func() (*executorv1.HealthCheckResponse, error) { return nil, errors.New("script says no") })
		wantClass(t, await.Receive(t, answer, "the crash").err, v1alpha.ClassCrashed)
		c.broken()
		x.setHealth(healthy(&executorv1.HealthCheckResponse{Serving: true}))
		x.greet(t)
		ready(t, groups)
	})
}

func TestStalledProcessIsLeftUntilItMoves(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{StallAfter: time.Second}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		wantClass(t, await.Receive(t, callWith(t, time.Second, policy), "the timeout").err, v1alpha.ClassTimeout)
		stalled := &executorv1.HealthCheckResponse{Serving: true, Workers: 4, WorkersBusy: 4, OldestExecutionMs: 5000, OldestExecutionPolicy: "p:v1.0.0"}
		x.setHealth(healthy(stalled))
		c.broken()
		wantClass(t, await.Receive(t, callWith(t, patience, policy), "the refusal").err, v1alpha.ClassUnavailable)
		if !statsOf(groups, 0).Stalled {
			t.Fatal("expected the process to count as stalled")
		}
		x.setHealth(healthy(&executorv1.HealthCheckResponse{Serving: true, Workers: 4, WorkersBusy: 3, OldestExecutionMs: 5000}))
		x.greet(t)
		ready(t, groups)
	})
}

func TestBusyIsNotStalled(t *testing.T) {
	cases := map[string]struct {
		check *executorv1.HealthCheckResponse
		want  bool
	}{
		"idle":                   {&executorv1.HealthCheckResponse{}, false},
		"allowed to be slow":     {&executorv1.HealthCheckResponse{Workers: 2, WorkersBusy: 2, OldestExecutionMs: 35_000}, false},
		"hung, but not all busy": {&executorv1.HealthCheckResponse{Workers: 2, WorkersBusy: 1, OldestExecutionMs: 90_000}, false},
		"hung and all busy":      {&executorv1.HealthCheckResponse{Workers: 2, WorkersBusy: 2, OldestExecutionMs: 45_000}, true},
	}
	for name, c := range cases {
		m, _ := managed()
		m.executions.longestTimeout = 30 * time.Second
		if err := m.checkStalled(c.check); (err != nil) != c.want || m.stats("g").Stalled != c.want {
			t.Errorf("%s: expected stalled %v, got %v", name, c.want, err)
		}
	}
}

func TestProgressResetsTheStall(t *testing.T) {
	start := time.Now()
	seen := progressClock{since: start}
	at := func(seconds int, finished uint64) time.Duration {
		return seen.sinceLast(finished, start.Add(time.Duration(seconds)*time.Second))
	}
	if a, b, c := at(4, 0), at(5, 1), at(9, 1); a != 4*time.Second || b != 0 || c != 4*time.Second {
		t.Fatalf("expected 4s, 0s, 4s without progress, got %s, %s, %s", a, b, c)
	}
}

// Policies that are not async run there as before, until another process takes its place.
func TestAProcessWithABlockedEventLoopGetsExecutionsWhereThereIsNoOther(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		x.setHealth(healthy(&executorv1.HealthCheckResponse{Serving: false}))
		await.Until(t, "it noticed", func() bool { return !statsOf(groups, 0).Serving })
		answer := callWith(t, patience, policy)
		c.answer(&executorv1.Action{Id: c.nextFrame().GetExecutions()[0].GetId()})
		if result := await.Receive(t, answer, "the answer"); result.err != nil {
			t.Fatalf("expected the only process to get the execution, got %v", result.err)
		}
	})
}

func TestProcessThatStopsMayFinishItsExecutions(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		answer := callWith(t, time.Minute, policy)
		execution := c.nextFrame().GetExecutions()[0]
		stopped := make(chan struct{})
		go func() {
			x.server.GracefulStop()
			close(stopped)
		}()
		await.Until(t, "it noticed", func() bool { return !statsOf(groups, 0).Serving })
		wantClass(t, await.Receive(t, callWith(t, patience, policy), "the refusal").err, v1alpha.ClassUnavailable)
		time.Sleep(30 * time.Second) // many more health checks than it takes to be given up
		c.answer(&executorv1.Action{Id: execution.GetId()})
		if result := await.Receive(t, answer, "the answer"); result.err != nil {
			t.Fatalf("expected what was under way to finish, got %v", result.err)
		}
		c.end <- nil
		await.Receive(t, stopped, "the end of the executor")
		await.Until(t, "the end of the stream noticed", func() bool { return !statsOf(groups, 0).Connected })
	})
}

func TestProcessThatStopsAndNeverEndsIsCutOff(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, Options{}, x)
		c := x.greet(t)
		ready(t, groups)
		go x.server.GracefulStop()
		await.Until(t, "it noticed", func() bool { return !statsOf(groups, 0).Serving })
		began, limit := time.Now(), Options{}.withDefaults().leaveTimeout()
		<-c.ended
		if took := time.Since(began); took < limit-time.Second || took > limit+time.Second {
			t.Fatalf("expected the stream to be ended after %s, it was after %s", limit, took)
		}
	})
}

func TestALeavingProcessHasTheTimeOfItsStreams(t *testing.T) {
	for drain, want := range map[time.Duration]time.Duration{time.Second: 70 * time.Second, 5 * time.Minute: 5*time.Minute + 10*time.Second} {
		if got := (Options{Drain: drain}).leaveTimeout(); got != want {
			t.Errorf("expected %s with a drain of %s, got %s", want, drain, got)
		}
	}
}
