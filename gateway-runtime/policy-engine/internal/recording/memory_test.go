package recording_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/sdk/policy/v1alpha"
)

// heap returns the size of the process's heap.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestRecordingStaysWithinItsMemory: what is kept and what waits for a follower that never takes it, by the heap's
// own word, of exchanges of any size.
func TestRecordingStaysWithinItsMemory(t *testing.T) {
	const limit = 4 << 20
	g := newGateway(t, limit, policy("reads", "bB", does{}), sets("sets", "x-user", "bob"))
	before := heap()
	slow, err := g.recorder.Follow(recording.Filter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 1500 {
		f := get(fmt.Sprintf("/orders/%d", n)).with("x-user", strings.Repeat("a", random.IntN(2000)))
		f.opening.RequestID = fmt.Sprintf("id-%d", n)
		_ = g.server.Serve(t.Context(), f.posts(strings.Repeat("b", 1+random.IntN(40000))))
	}
	grown, stats := heap()-before, g.recorder.Stats()
	if grown > limit {
		t.Errorf("expected at most %d bytes, got %d: %+v", limit, grown, stats)
	}
	if stats.KeptBytes > limit/2 || stats.KeptBytes < limit/3 || stats.UsedBytes != 0 || stats.Evicted == 0 || stats.Dropped == 0 || stats.Recorded != 1500 {
		t.Errorf("expected memory in use and exchanges that went, got %+v", stats)
	}
	kept := g.recorder.Kept(recording.Filter{})
	if len(kept) != stats.Kept || read(t, kept[len(kept)-1]).ID != "id-1499" {
		t.Errorf("expected the newest ones, got %d, the last one %s", len(kept), read(t, kept[len(kept)-1]).ID)
	}
	slow.Close()
	runtime.KeepAlive(g)
}

func TestALimitThatShrinks(t *testing.T) {
	g := newGateway(t, enough, policy("reads", "b", does{}))
	for range 10 {
		_ = g.record(t, get("/orders/7").posts(strings.Repeat("b", 10000)))
	}
	g.recorder.Configure(&nodev1.Recording{MaxBytes: 80_000, BodyBytes: 100}, secrets)
	if stats := g.recorder.Stats(); stats.Kept == 0 || stats.KeptBytes > 40_000 || stats.Evicted == 0 {
		t.Errorf("got %+v", stats)
	}
	if body := g.record(t, get("/orders/7").posts(strings.Repeat("b", 1000))).Request.Body; len(*body.Text) != 100 || body.Size != 1000 {
		t.Errorf("expected 100 bytes of 1000, got %+v", body)
	}
	if count := g.recorder.Forget(); count == 0 || g.recorder.Stats().KeptBytes != 0 {
		t.Errorf("expected all to go, got %d, %+v", count, g.recorder.Stats())
	}
}

// TestExchangesGoOnWithoutMemory: they are not watched, or recorded without their bodies.
func TestExchangesGoOnWithoutMemory(t *testing.T) {
	g := newGateway(t, 64<<10, policy("reads", "b", does{}))
	e := g.record(t, get("/orders/7").posts(strings.Repeat("b", 16<<10)))
	expect(t, "body", asJSON(t, e.Request.Body), `{"size":16384,"text":"","truncated":true}`)
	g.recorder.Configure(&nodev1.Recording{MaxBytes: 1 << 10, BodyBytes: 100}, secrets)
	if _, err := g.recorder.Start(recording.Filter{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := g.server.Serve(t.Context(), get("/orders/7")); err != nil || g.recorder.Stats().Refused != 1 {
		t.Errorf("got %v, %+v", err, g.recorder.Stats())
	}
}

// ---------------------------------------------------------------- recordings

func TestNoExchangeIsWatchedWithoutARecording(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	serve := func() float64 {
		return testing.AllocsPerRun(100, func() { _ = g.server.Serve(t.Context(), get("/orders/7")) })
	}
	off := serve()
	status, err := g.recorder.Start(filter(t, `{"api": "orders"}`), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if on := serve(); on <= off {
		t.Errorf("expected a recording to cost something, got %v allocations with and %v without", on, off)
	}
	if !g.recorder.Stop(status.ID) || g.recorder.Stop(status.ID) {
		t.Error("expected to stop it once")
	}
	recorded := g.recorder.Stats().Recorded
	if again := serve(); again != off || g.recorder.Stats().Recorded != recorded || recorded == 0 {
		t.Errorf("expected %v allocations again, got %v; recorded %d, then %d", off, again, recorded, g.recorder.Stats().Recorded)
	}
}

func TestARecordingEndsWhenItsTimeIsOver(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	follower, err := g.recorder.Follow(recording.Filter{}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := follower.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("expected io.EOF, got %v", err)
	}
	if stats := g.recorder.Stats(); len(stats.Recordings) != 0 {
		t.Errorf("expected none, got %+v", stats.Recordings)
	}
	for _, lasts := range []time.Duration{0, -time.Second, 2 * time.Hour} {
		if _, err := g.recorder.Start(recording.Filter{}, lasts); err == nil || !strings.Contains(err.Error(), "expected 1 to 3600") {
			t.Errorf("%v: got %v", lasts, err)
		}
	}
}

func TestRecordingsAreBounded(t *testing.T) {
	g := newGateway(t, enough)
	for range recording.MaxRecordings {
		if _, err := g.recorder.Start(recording.Filter{}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.recorder.Follow(recording.Filter{}, 0); err == nil || !strings.Contains(err.Error(), "expected at most 64") {
		t.Errorf("got %v", err)
	}
	for _, status := range g.recorder.Stats().Recordings {
		g.recorder.Stop(status.ID)
	}
}

// TestExchangesOfManyAtOnce: exchanges in many goroutines, with followers that come and go, under the race detector.
func TestExchangesOfManyAtOnce(t *testing.T) {
	settings := func(letters string) chain.Settings {
		return chain.Settings{Mode: modes(letters), Timeout: time.Minute} // or one that is late for want of a CPU fails, too
	}
	fails := policyWith("fails", does{request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		if strings.HasSuffix(r.Path, "0") {
			return nil, v1alpha.Failf(v1alpha.ClassException, "oh")
		}
		return nil, r.Metadata.Set("user", "ann")
	}}, settings("h"))
	g := newGateway(t, enough, policyWith("reads", does{}, settings("bB")), fails)
	var serving, following sync.WaitGroup
	all, err := g.recorder.Follow(filter(t, `{"errors": true}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	following.Go(func() {
		for {
			texts, dropped, err := all.Next(t.Context())
			if err != nil {
				return
			}
			if got += len(texts) + int(dropped); dropped > 0 {
				t.Errorf("expected to keep up, %d were dropped", dropped)
			}
		}
	})
	for n := range 8 {
		serving.Go(func() {
			for i := range 100 {
				_ = g.server.Serve(t.Context(), get(fmt.Sprintf("/orders/%d%d", n, i)).posts("ab", "cd").answers(200, "ef"))
				if i%10 == 0 {
					if follower, err := g.recorder.Follow(filter(t, `{"sample": 0.5}`), 0); err == nil {
						follower.Close()
					}
				}
			}
		})
	}
	serving.Wait()
	all.Stop()
	following.Wait()
	if got != 80 {
		t.Errorf("expected the 80 that failed, got %d", got)
	}
}
