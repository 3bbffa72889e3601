package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnectionsShareOneSchedule(t *testing.T) {
	start := time.Now().Add(-time.Minute) // all requests are due: none waits
	p := plan{connections: 3, rate: 1000}
	var got []time.Duration
	schedules := []schedule{newSchedule(p, start, 0), newSchedule(p, start, 1), newSchedule(p, start, 2)}
	for i := range 9 {
		due, ok := schedules[i%3].next(t.Context())
		if !ok {
			t.Fatal("expected a live context to go on")
		}
		got = append(got, due.Sub(start))
	}
	for i, offset := range got {
		if want := time.Duration(i) * time.Millisecond; offset != want {
			t.Errorf("request %d: expected due after %s, got %s", i, want, offset)
		}
	}
}

func TestAScheduleIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithDeadline(t.Context(), start.Add(time.Second))
		defer cancel()
		n, p := 0, plan{connections: 4, rate: 200}
		for schedule := newSchedule(p, start, 1); ; n++ {
			due, ok := schedule.next(ctx)
			if !ok {
				break
			}
			if want := start.Add(time.Duration(5+20*n) * time.Millisecond); !due.Equal(want) {
				t.Errorf("request %d: expected due at %s, got %s", n, want, due)
			}
		}
		if n != 50 {
			t.Errorf("expected 50 requests of one of four connections in a second, got %d", n)
		}
	})
}

func TestUnsentCountsRequestsThatWereDueBeforeTheEnd(t *testing.T) {
	end := time.Now()
	open := schedule{step: 10 * time.Millisecond}
	for due, want := range map[time.Duration]int{
		time.Millisecond: 0, 0: 0, -time.Millisecond: 1, -10 * time.Millisecond: 1, -11 * time.Millisecond: 2, -95 * time.Millisecond: 10,
	} {
		if got := open.unsent(end, end.Add(due)); got != want {
			t.Errorf("due %s from the end: expected %d left, got %d", due, want, got)
		}
	}
	closed := schedule{}
	if got := closed.unsent(end, end.Add(-time.Second)); got != 0 {
		t.Errorf("expected a closed loop to leave nothing, got %d", got)
	}
}
