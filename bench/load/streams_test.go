package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func follow(t *testing.T, address, path string, more ...string) result {
	t.Helper()
	arguments := append([]string{"-url", "http://" + address + path, "-open", "20ms", "-settle", "50ms", "-duration", "300ms"}, more...)
	var out bytes.Buffer
	if err := streamsCommand(t.Context(), arguments, &out); err != nil {
		t.Fatal(err)
	}
	return resultIn(t, out.String())
}

func TestStreamsCountEventsOfAllAndHowLateTheyCame(t *testing.T) {
	address := startUpstream(t, `{"/events": {}}`)
	got := follow(t, address, "/events/1?events=1000&every=20ms", "-streams", "5")
	if got.Failures != 0 || got.Count < 20 || got.Count > 80 {
		t.Errorf("expected about 75 events without a failure, got %+v", got)
	}
	if got.P50 <= 0 || got.Max > (200*time.Millisecond).Microseconds() {
		t.Errorf("expected latenesses between 0 and 200 ms, got %+v", got)
	}
}

func TestAStreamThatEndsOrSaysOtherwiseIsAFailure(t *testing.T) {
	address := startUpstream(t, `{"/events": {}}`)
	for _, c := range []struct{ name, path, end, wanted string }{
		{"ends", "/events/1?events=2", eventEnd, "expected more events"},
		{"other data", "/events/1?events=9&every=1ms", "#", `and "#", got "data: `},
		{"no stream", "/gone", eventEnd, "expected status 200, got 418"},
		{"odd query", "/events/1?events=x", eventEnd, "expected status 200, got 418"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := follow(t, address, c.path, "-end", c.end)
			if got.Failures != 1 || !strings.Contains(got.FirstFailure, c.wanted) {
				t.Errorf("expected one failure with %q, got %+v", c.wanted, got)
			}
		})
	}
}

func TestGenerateCountsTheMarksOfABody(t *testing.T) {
	address := serve(t, func(exchange *fasthttp.RequestCtx) { exchange.SetBodyString("a~b~") })
	if got := measure(t, address, "-mark", "~", "-marks", "2"); got.Failures != 0 || got.Count == 0 {
		t.Errorf("expected right answers alone, got %+v", got)
	}
	got := measure(t, address, "-mark", "~", "-marks", "3")
	if got.Count != 0 || got.FirstFailure != `expected "~" 3 times in the body, got it 2 times` {
		t.Errorf("expected wrong answers alone, got %+v", got)
	}
}
