package recording_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestFiltersMatchExchanges(t *testing.T) {
	fails := policy("fails", "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return nil, v1alpha.Failf(v1alpha.ClassUnavailable, "gone")
	}})
	passes := policy("passes", "hH", does{})
	for _, c := range []struct {
		filter string
		fails  bool
		fits   bool
	}{
		{`{}`, false, true},
		{``, false, true},
		{`{"api": "orders", "operation": "GET /{id}", "policy": "passes", "path": "/orders", "id": "id-1"}`, false, true},
		{`{"policy": "passes:v1.0.0"}`, false, true},
		{`{"policy": "passes:v1.0.1"}`, false, false},
		{`{"policy": "pass"}`, false, false},
		{`{"api": "order"}`, false, false},
		{`{"operation": "GET /"}`, false, false},
		{`{"path": "/orders/8"}`, false, false},
		{`{"path": "/orders/7?"}`, false, false},
		{`{"id": "id-2"}`, false, false},
		{`{"client": "192.0.2.1"}`, false, true},
		{`{"client": "192.0.2.1:5"}`, false, true},
		{`{"client": "192.0.2.1:50"}`, false, false},
		{`{"client": "192.0.2"}`, false, false},
		{`{"header": {"name": "X-User"}}`, false, true},
		{`{"header": {"name": "x-user", "value": "ann"}}`, false, true},
		{`{"header": {"name": "x-user", "value": "bob"}}`, false, false},
		{`{"header": {"name": "x-none"}}`, false, false},
		{`{"status": "2xx"}`, false, true},
		{`{"status": ["404", "200"]}`, false, true},
		{`{"status": []}`, false, true},
		{`{"status": "503"}`, false, false},
		{`{"status": "5xx"}`, true, true},
		{`{"errors": true}`, false, false},
		{`{"errors": true}`, true, true},
		{`{"errors": true, "api": "none"}`, true, false},
		{`{"sample": 0}`, false, false},
		{`{"sample": 1}`, false, true},
	} {
		chosen := passes
		if c.fails {
			chosen = fails
		}
		g := newGateway(t, enough, chosen)
		follower, err := g.recorder.Follow(filter(t, c.filter), 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = g.server.Serve(t.Context(), get("/orders/7?a=1").with("x-user", "ann"))
		if fits := g.recorder.Stats().Recorded == 1; fits != c.fits {
			t.Errorf("%s: expected %t, got %t", c.filter, c.fits, fits)
		}
		follower.Close()
		if strings.Contains(c.filter, "sample") {
			continue
		}
		_ = g.record(t, get("/orders/7?a=1").with("x-user", "ann")) // the same filters apply to recorded exchanges
		if got := len(g.recorder.Kept(filter(t, c.filter))) > 0; got != c.fits {
			t.Errorf("%s: expected of what is kept %t, got %t", c.filter, c.fits, got)
		}
	}
}

func TestASampleIsAShare(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	follower, err := g.recorder.Follow(filter(t, `{"sample": 0.25}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	const total = 4000
	for range total {
		_ = g.server.Serve(t.Context(), get("/orders/7"))
	}
	// 8 standard deviations
	if got := float64(g.recorder.Stats().Recorded); math.Abs(got-total/4) > 8*math.Sqrt(total*0.25*0.75) {
		t.Errorf("expected about %d, got %v", total/4, got)
	}
}

// TestBadFilters: each line of testdata/filters.bad is a refused filter, with a part of the error.
func TestBadFilters(t *testing.T) {
	text, err := os.ReadFile("testdata/filters.bad")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		bad, want, found := strings.Cut(strings.TrimSpace(line), " # ")
		if !found {
			t.Fatalf("expected FILTER # MESSAGE, got %q", line)
		}
		if _, err := recording.ParseFilter([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected %q, got %v", bad, want, err)
		}
	}
}
