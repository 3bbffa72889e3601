package main

import (
	"slices"
	"time"
)

// span is the time of the measurement.
type span struct{ begin, end time.Time }

func (s span) holds(moment time.Time) bool { return !moment.Before(s.begin) && moment.Before(s.end) }

// tally has the results of one connection; each has its own, so that counting needs no lock.
type tally struct {
	latencies []time.Duration
	failures  int
	first     error // the first failure
	unsent    int
}

// add counts a right answer to a request that was due in the measured span, however late the answer came: if only answers
// within the span counted, a stall that outlasts it would be missed.
func (t *tally) add(measured span, due, now time.Time) {
	if measured.holds(due) {
		t.latencies = append(t.latencies, now.Sub(due))
	}
}

func (t *tally) fail(err error) {
	t.failures++
	if t.first == nil {
		t.first = err
	}
}

func merge(tallies []tally) tally {
	var sum tally
	for _, t := range tallies {
		sum.latencies = append(sum.latencies, t.latencies...)
		sum.failures += t.failures
		sum.unsent += t.unsent
		if sum.first == nil {
			sum.first = t.first
		}
	}
	slices.Sort(sum.latencies)
	return sum
}

// result is the command's output. Latencies are exact, in microseconds, over the right answers; failures count from the
// start of the warm-up.
type result struct {
	Seconds      float64 `json:"seconds"`
	Count        int     `json:"count"`
	Failures     int     `json:"failures"`
	FirstFailure string  `json:"firstFailure,omitempty"`
	Unsent       int     `json:"unsent"`
	P50          int64   `json:"p50"`
	P90          int64   `json:"p90"`
	P99          int64   `json:"p99"`
	Max          int64   `json:"max"`
}

func (t tally) result(duration time.Duration) result {
	summary := result{
		Seconds: duration.Seconds(), Count: len(t.latencies), Failures: t.failures, Unsent: t.unsent,
		P50: t.quantile(0.50), P90: t.quantile(0.90), P99: t.quantile(0.99), Max: t.quantile(1),
	}
	if t.first != nil {
		summary.FirstFailure = t.first.Error()
	}
	return summary
}

// quantile returns a quantile of the sorted latencies by nearest rank, in microseconds; 0 if there are none.
func (t tally) quantile(share float64) int64 {
	if len(t.latencies) == 0 {
		return 0
	}
	rank := int(share*float64(len(t.latencies))+0.9999999) - 1
	return t.latencies[min(max(rank, 0), len(t.latencies)-1)].Microseconds()
}
