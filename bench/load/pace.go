package main

import (
	"context"
	"time"
)

// pace says when a connection sends its requests. A closed loop (step 0) sends as soon as the last answer is in. An open loop
// has a timetable: a request that waits for the answer before it counts from when it was due, so a stall is not hidden.
type pace struct {
	due  time.Time
	step time.Duration
}

// newPace gives connection i of the plan its share of the timetable.
func newPace(p plan, start time.Time, i int) pace {
	if p.rate == 0 {
		return pace{}
	}
	between := float64(time.Second) / p.rate
	return pace{
		due:  start.Add(time.Duration(between * float64(i))),
		step: time.Duration(between * float64(p.connections)),
	}
}

// next waits until the next request is due and returns the time its latency counts from; false when the context ended.
// The generator's own late waking is not the gateway's latency: who slept counts from its waking.
func (p *pace) next(ctx context.Context) (time.Time, bool) {
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
func (p *pace) left(end, due time.Time) int {
	if p.step == 0 || !due.Before(end) {
		return 0
	}
	return int((end.Sub(due)-1)/p.step) + 1
}
