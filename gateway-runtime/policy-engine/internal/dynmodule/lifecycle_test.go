package dynmodule_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/property"
)

// settled waits until the filter is not paused.
func (f *filter) settled(t interface{ Fatalf(string, ...any) }) {
	timeout := time.After(time.Minute)
	for {
		var paused bool
		f.worker.do(func() { paused = f.paused[0] || f.paused[1] })
		if !paused {
			return
		}
		select {
		case <-f.idle:
		case <-timeout:
			t.Fatalf("expected the exchange to go on, got a filter that is paused: %+v", f)
		}
	}
}

// TestAnExchangeGoesThroughBothPhases: on the worker alone if its policies never wait, otherwise by the scheduler.
func TestAnExchangeGoesThroughBothPhases(t *testing.T) {
	for _, test := range []struct {
		chain     string
		waits     int // policies that wait
		scheduled bool
		answered  int
	}{
		{"passing", 0, false, 0}, {"passing-request", 0, false, 0}, {"waiting", 2, true, 0}, {"waiting-request", 1, true, 0},
		{"answering", 0, false, 418}, {"panicking", 0, false, 500}, {"unknown", 0, false, 503},
	} {
		t.Run(test.chain, func(t *testing.T) {
			w, on := newWorld(), newWorker()
			f := w.envoy.newFilter(w.module, on)
			on.do(func() { f.request(requestHead(test.chain)) })
			if test.scheduled {
				w.turn <- struct{}{}
			}
			f.settled(t)
			if test.answered == 0 {
				on.do(func() { f.response(responseHead("200")) })
				if test.waits == 2 {
					w.turn <- struct{}{}
				}
				f.settled(t)
			}
			on.do(f.destroy)
			on.stop()
			if f.answered != test.answered || f.failed || f.passed[chain.Response] != (test.answered == 0) {
				t.Errorf("expected an answer %d, or that the response goes on, got %+v", test.answered, f)
			}
			if (f.scheduledEvents > 0) != test.scheduled {
				t.Errorf("expected scheduled events: %v, got %d", test.scheduled, f.scheduledEvents)
			}
			if err := w.mistakes(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAPolicyThatEndsItsGoroutineFailsTheExchange, and nothing else.
func TestAPolicyThatEndsItsGoroutineFailsTheExchange(t *testing.T) {
	w, on := newWorld(), newWorker()
	f := w.envoy.newFilter(w.module, on)
	on.do(func() { f.request(requestHead("leaving")) })
	f.settled(t)
	on.do(f.destroy)
	on.stop()
	if f.answered != 500 {
		t.Errorf("expected 500, got %+v", f)
	}
	if err := w.mistakes(); err != nil {
		t.Error(err)
	}
}

// TestAResponseOfAnUndecodedRequest: a refusal of a filter before the engine's goes on unchanged.
func TestAResponseOfAnUndecodedRequest(t *testing.T) {
	for status, want := range map[string]int{"429": 0, "403": 403} {
		w, on := newWorld(), newWorker()
		f := w.envoy.newFilter(w.module, on)
		on.do(func() { f.response(responseHead(status)) })
		f.settled(t)
		on.do(f.destroy)
		on.stop()
		if f.answered != want || f.failed {
			t.Errorf("%s: expected the answer %d (0: it goes on), got %+v", status, want, f)
		}
		if err := w.mistakes(); err != nil {
			t.Error(err)
		}
	}
}

// event is one that Envoy may bring about, in any order, on a filter that is not destroyed.
var events = []string{"request", "response", "go on", "destroy"}

// TestAnyOrderOfCallbacks: whatever Envoy does with its filters, and whenever a policy goes on, the module commits to no
// scheduler that is deleted, deletes each once, and leaves no stream and no goroutine; each exchange that began ends.
func TestAnyOrderOfCallbacks(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		w := newWorld()
		workers := []*worker{newWorker(), newWorker()}
		var filters []*filter
		for n := range rapid.IntRange(1, 4).Draw(t, "filters") {
			filters = append(filters, w.envoy.newFilter(w.module, workers[n%2]))
		}
		chains := []string{"passing", "passing-request", "panicking", "answering", "waiting", "waiting-request", "leaving", "unknown"}
		began := make([]bool, len(filters))
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			at := rapid.IntRange(0, len(filters)-1).Draw(t, "filter")
			f := filters[at]
			event := rapid.SampledFrom(events).Draw(t, "event")
			id := rapid.SampledFrom(chains).Draw(t, "chain")
			status := rapid.SampledFrom([]string{"200", "403", "500"}).Draw(t, "status")
			switch event {
			case "go on":
				select {
				case w.turn <- struct{}{}:
				default:
				}
			case "destroy":
				f.worker.tasks <- f.destroy
			case "request":
				if !began[at] {
					began[at] = true
					f.worker.tasks <- func() { f.live(func() { f.request(requestHead(id)) }) }
				}
			case "response":
				began[at] = true
				f.worker.tasks <- func() { f.live(func() { f.respondOnce(responseHead(status)) }) }
			}
		}
		for _, f := range filters {
			f.worker.do(f.destroy)
		}
		if err := w.mistakes(); err != nil {
			t.Fatal(err)
		}
		for _, on := range workers {
			on.stop()
		}
		if stats := w.counters.Stats(); stats.Active != 0 {
			t.Fatalf("expected no exchange under way, got %+v", stats)
		}
	})
}

// live runs a hook of a filter that is not destroyed.
func (f *filter) live(hook func()) {
	if !f.destroyed {
		hook()
	}
}

// respondOnce is the hook of the response's headers, which Envoy calls once.
func (f *filter) respondOnce(message []byte) {
	if !f.passed[chain.Response] && !f.paused[chain.Response] && f.answered == 0 && !f.failed {
		f.response(message)
	}
}

// TestCancelStorm: clients leave at every point, while policies go on at any time.
func TestCancelStorm(t *testing.T) {
	const clients, rounds = 64, 20
	w := newWorld()
	workers := []*worker{newWorker(), newWorker(), newWorker(), newWorker()}
	storm := make(chan struct{})
	var turning sync.WaitGroup
	for range 4 {
		turning.Go(func() {
			for {
				select {
				case w.turn <- struct{}{}:
				case <-storm:
					return
				}
			}
		})
	}
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			on := workers[client%len(workers)]
			for round := range rounds {
				f := w.envoy.newFilter(w.module, on)
				id := []string{"waiting", "passing", "waiting-request"}[(client+round)%3]
				leaves := (client*7 + round*3) % 5
				on.do(func() { f.request(requestHead(id)) })
				if leaves > 0 {
					f.settled(t)
				}
				if leaves > 1 {
					on.do(func() { f.response(responseHead("200")) })
				}
				if leaves > 2 {
					f.settled(t)
				}
				on.do(f.destroy)
			}
		})
	}
	running.Wait()
	close(storm)
	turning.Wait()
	if err := w.mistakes(); err != nil {
		t.Error(err)
	}
	for _, on := range workers {
		on.stop()
	}
	stats := w.counters.Stats()
	if want := uint64(clients * rounds); stats.Exchanges != want || stats.Active != 0 {
		t.Errorf("expected %d exchanges, none under way, got %s", want, fmt.Sprintf("%+v", stats))
	}
}
