package main

import (
	"context"
	"time"
)

// schedule is when a connection sends its requests. A closed loop (step 0) sends as soon as the last answer has come. In an
// open loop each request is due at a time of its own, and its latency counts from then even if it had to wait for the answer
// before it, so that a stall is not hidden.
type schedule struct {
	due  time.Time
	step time.Duration
}

// newSchedule returns the share of the plan's requests that connection i sends.
func newSchedule(p plan, start time.Time, i int) schedule {
	if p.rate == 0 {
		return schedule{}
	}
	between := float64(time.Second) / p.rate
	return schedule{
		due:  start.Add(time.Duration(between * float64(i))),
		step: time.Duration(between * float64(p.connections)),
	}
}

// next waits until the next request is due and returns the time its latency counts from; false when the context ended.
// A wake-up of this program that comes late is not the gateway's latency: after a sleep, the latency counts from the wake-up.
func (p *schedule) next(ctx context.Context) (time.Time, bool) {
	if p.step == 0 {
		return time.Now(), ctx.Err() == nil
	}
	due := p.due
	p.due = due.Add(p.step)
	if wait := time.Until(due); wait > 0 {
		sleep(ctx, wait)
		due = time.Now()
	}
	return due, ctx.Err() == nil
}

// unsent returns how many requests, from the one that was due at due, were due before the end.
func (p *schedule) unsent(end, due time.Time) int {
	if p.step == 0 || !due.Before(end) {
		return 0
	}
	return int((end.Sub(due)-1)/p.step) + 1
}
