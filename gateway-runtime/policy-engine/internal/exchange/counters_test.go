package exchange_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/sdk/policy/v1alpha"
)

func quietCounters() *exchange.Counters { return exchange.NewCounters(slog.New(slog.DiscardHandler)) }

func labels(policy, api, operation string) chain.Labels {
	return chain.Labels{Policy: policy, API: api, Operation: operation}
}

// execute runs one execution of a chain.
func execute(observer chain.ExecutionObserver, execution chain.Execution) {
	observer.Began()
	observer.Ended(execution)
}

// counted returns the number of executions of each counter, in order.
func counted(c *exchange.Counters) []string {
	all := []string{}
	for _, counter := range c.ExecutionStats() {
		all = append(all, fmt.Sprintf("%s %s %s %d", counter.Policy, counter.API, counter.Operation, counter.Executions))
	}
	return all
}

func expectCounted(t *testing.T, c *exchange.Counters, want ...string) {
	t.Helper()
	if got := counted(c); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("expected %q, got %q", want, got)
	}
}

func TestExecutionsAreCounted(t *testing.T) {
	c := quietCounters()
	counter := c.Executions(labels("p:v1.0.0", "orders", "GET /"))
	execute(counter, chain.Execution{Duration: 250 * time.Millisecond})
	execute(counter, chain.Execution{Duration: 250 * time.Millisecond, Failure: v1alpha.Failf(v1alpha.ClassTimeout, "late"), Continued: true})
	execute(counter, chain.Execution{Failure: v1alpha.Failf(v1alpha.ClassBadBody, "br")})
	execute(counter, chain.Execution{Cancelled: true})
	counter.Began()
	counter.Add(chain.ExecutionsSkipped, 1)
	want := []exchange.ExecutionStats{{
		Policy: "p:v1.0.0", API: "orders", Operation: "GET /", Executions: 5, Continued: 1, Cancelled: 1, Active: 1, Seconds: 0.5, Skipped: 1,
		Failures: map[v1alpha.FailureClass]uint64{v1alpha.ClassTimeout: 1, v1alpha.ClassBadBody: 1},
	}}
	if got := c.ExecutionStats(); !reflect.DeepEqual(got, want) {
		t.Errorf("expected %+v, got %+v", want, got)
	}
}

func TestEveryClassIsCounted(t *testing.T) {
	c := quietCounters()
	counter := c.Executions(labels("p", "a", "o"))
	for _, class := range v1alpha.FailureClasses {
		execute(counter, chain.Execution{Failure: v1alpha.Failf(class, "…")})
	}
	if got := c.ExecutionStats()[0].Failures; len(got) != len(v1alpha.FailureClasses) {
		t.Errorf("expected all classes, got %v", got)
	}
}

// TestCountersOutliveAnEdit: the next version's chain is there before the one before goes, or comes later.
func TestCountersOutliveAnEdit(t *testing.T) {
	c := quietCounters()
	kept, gone := labels("p", "a", "GET /kept"), labels("p", "a", "GET /gone")
	first, second := c.Executions(kept), c.Executions(gone)
	execute(first, chain.Execution{})
	execute(second, chain.Execution{})
	next := c.Executions(kept)
	first.Close()
	second.Close()
	execute(next, chain.Execution{})
	expectCounted(t, c, "p a GET /gone 1", "p a GET /kept 2")
	execute(c.Executions(gone), chain.Execution{})
	expectCounted(t, c, "p a GET /gone 2", "p a GET /kept 2")
}

func TestCountersGoWithTheirAPI(t *testing.T) {
	c := quietCounters()
	open, idle, other := c.Executions(labels("p", "a", "open")), c.Executions(labels("p", "a", "idle")), c.Executions(labels("p", "b", "other"))
	for _, counter := range []chain.ExecutionObserver{open, idle, other} {
		execute(counter, chain.Execution{})
	}
	idle.Close()
	c.APIRemoved("a")
	expectCounted(t, c, "p a open 1", "p b other 1")
	again := c.Executions(labels("p", "a", "open")) // it is back before its last exchange has ended
	open.Close()
	expectCounted(t, c, "p a open 1", "p b other 1")
	c.APIRemoved("a")
	again.Close()
	expectCounted(t, c, "p b other 1")
}

func TestEmptyCountersGoWithTheirChain(t *testing.T) {
	c := quietCounters()
	c.Executions(labels("p", "a", "o")).Close()
	expectCounted(t, c)
}

// TestCountersOfRemovedOperationsAreBounded: the longest unused go first.
func TestCountersOfRemovedOperationsAreBounded(t *testing.T) {
	c := quietCounters()
	used := c.Executions(labels("used", "a", "o"))
	execute(used, chain.Execution{})
	for n := range 1500 {
		counter := c.Executions(labels(fmt.Sprintf("p%04d", n), "a", "o"))
		execute(counter, chain.Execution{})
		counter.Close()
	}
	got := counted(c)
	if len(got) != 1001 || got[0] != "p0500 a o 1" || got[len(got)-1] != "used a o 1" {
		t.Errorf("expected the last 1000 and the one in use, got %d: %s … %s", len(got), got[0], got[len(got)-1])
	}
	c.Executions(labels("p0500", "a", "o")) // in use again
	next := c.Executions(labels("next", "a", "o"))
	execute(next, chain.Execution{})
	next.Close()
	if got := counted(c); len(got) != 1002 || !strings.HasPrefix(got[1], "p0500") {
		t.Errorf("expected one in use again not to go, got %d: %q", len(got), got[1])
	}
}

func TestAnExecutionCostsNoAllocation(t *testing.T) {
	counter := quietCounters().Executions(labels("p", "a", "o"))
	if got := testing.AllocsPerRun(1000, func() { execute(counter, chain.Execution{RequestID: "id", Phase: chain.PhaseRequest, Duration: 1}) }); got != 0 {
		t.Errorf("expected none, got %v", got)
	}
}

func TestAFailureIsLoggedOnce(t *testing.T) {
	for want, execution := range map[string]chain.Execution{
		"ERROR": {Failure: v1alpha.Failf(v1alpha.ClassTimeout, "late")},
		"WARN":  {Failure: v1alpha.Failf(v1alpha.ClassTimeout, "late"), Continued: true},
		"":      {Failure: &v1alpha.Failure{Class: v1alpha.ClassTimeout, Message: "late", Logged: true}},
	} {
		var log bytes.Buffer
		c := exchange.NewCounters(slog.New(slog.NewTextHandler(&log, nil)))
		execution.RequestID, execution.Phase = "id-1", chain.PhaseRequest
		execute(c.Executions(labels("p:v1.0.0", "orders", "GET /")), execution)
		line := log.String()
		if want == "" && line != "" {
			t.Errorf("expected nothing of what is logged already, got %s", line)
		}
		if want != "" && (!strings.Contains(line, fmt.Sprintf("level=%s msg=\"policy failed\" requestId=id-1 policy=p:v1.0.0 class=timeout reason=late phase=request api=orders operation=\"GET /\" continued=%t", want, execution.Continued)) ||
			strings.Count(line, "\n") != 1) {
			t.Errorf("%s: got %s", want, line)
		}
	}
}

func TestTheCauseOfAFailureIsForTheLog(t *testing.T) {
	var log bytes.Buffer
	c := exchange.NewCounters(slog.New(slog.NewTextHandler(&log, nil)))
	failure := &v1alpha.Failure{Class: v1alpha.ClassCrashed, Message: "its process ended", Cause: errors.New("rpc error: EOF")}
	execute(c.Executions(labels("p:v1.0.0", "orders", "GET /")), chain.Execution{Failure: failure})
	if line := log.String(); !strings.Contains(line, `reason="its process ended"`) || !strings.HasSuffix(line, "cause=\"rpc error: EOF\"\n") {
		t.Errorf("expected both, the cause last, got %s", line)
	}
}

func TestShadowsAreCountedApart(t *testing.T) {
	var log bytes.Buffer
	c := exchange.NewCounters(slog.New(slog.NewTextHandler(&log, nil)))
	of := labels("p", "a", "o")
	execute(c.Executions(of), chain.Execution{Phase: chain.PhaseRequest})
	of.Shadow = true
	shadow := c.Executions(of)
	execute(shadow, chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowDifferent, Duration: time.Second})
	execute(shadow, chain.Execution{Phase: chain.PhaseResponse, Shadow: chain.ShadowFailed, Failure: v1alpha.Failf(v1alpha.ClassTimeout, "late")})
	execute(shadow, chain.Execution{Phase: chain.PhaseRequest, Shadow: chain.ShadowSkipped, Failure: v1alpha.Failf(v1alpha.ClassOverloaded, "full")})
	expectCounted(t, c, "p a o 1")
	want := []exchange.ShadowStats{{Policy: "p", API: "a", Operation: "o", Outcomes: map[string]uint64{"different": 1, "failed": 1, "skipped": 1}, Seconds: 1}}
	if got := c.ShadowStats(); !reflect.DeepEqual(got, want) {
		t.Errorf("expected %+v, got %+v", want, got)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `level=WARN msg="shadow policy failed"`) {
		t.Errorf("expected one warning, got %s", text)
	}
}

func BenchmarkExecution(b *testing.B) {
	counter := quietCounters().Executions(labels("p", "a", "o"))
	b.ReportAllocs()
	for b.Loop() {
		execute(counter, chain.Execution{RequestID: "id", Phase: chain.PhaseRequest, Duration: 1})
	}
}
