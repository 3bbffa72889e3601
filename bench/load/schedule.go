package main

import (
	"context"
	"time"
)

// schedule says when a connection sends its requests. A closed loop (step 0) sends as soon as the last answer is in. In an
// open loop each request is due at a time of its own, and counts from then if it waits for the answer before it: a stall is
// not hidden.
type schedule struct {
	due  time.Time
	step time.Duration
}

// newSchedule gives connection i of the plan its share of the requests.
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
// The generator's own late waking is not the gateway's latency: who slept counts from its waking.
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

// left counts the requests that were due before the end and never sent, from the one that was due then.
func (p *schedule) left(end, due time.Time) int {
	if p.step == 0 || !due.Before(end) {
		return 0
	}
	return int((end.Sub(due)-1)/p.step) + 1
}
