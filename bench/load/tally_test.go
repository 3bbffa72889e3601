package main

import (
	"errors"
	"testing"
	"time"
)

func TestOnlyRequestsThatWereDueInTheSpanAreMeasured(t *testing.T) {
	begin := time.Now()
	measured := span{begin: begin, end: begin.Add(time.Second)}
	var counted tally
	for _, due := range []time.Duration{-time.Millisecond, 0, 999 * time.Millisecond, time.Second} {
		counted.add(measured, begin.Add(due), begin.Add(due+3*time.Second))
	}
	if len(counted.latencies) != 2 || counted.latencies[1] != 3*time.Second {
		t.Errorf("expected the two in the span, with their whole latency, got %v", counted.latencies)
	}
}

func TestResultIsExact(t *testing.T) {
	first := errors.New("first")
	odd, even := tally{first: first, failures: 2, unsent: 3}, tally{first: errors.New("second"), failures: 1}
	for i := 1; i <= 200; i += 2 {
		odd.latencies = append(odd.latencies, time.Duration(i)*time.Microsecond)
		even.latencies = append(even.latencies, time.Duration(i+1)*time.Microsecond)
	}
	got := merge([]tally{even, odd}).result(2 * time.Second)
	want := result{Seconds: 2, Count: 200, Failures: 3, FirstFailure: "second", Unsent: 3, P50: 100, P90: 180, P99: 198, Max: 200}
	if got != want {
		t.Errorf("expected %+v, got %+v", want, got)
	}
	if empty := merge(nil).result(time.Second); empty != (result{Seconds: 1}) {
		t.Errorf("expected zeros without answers, got %+v", empty)
	}
}
