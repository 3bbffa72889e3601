package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

// measureStreams reads streams of an upstream that expects no headers at /events, over connections with a delay.
func measureStreams(t *testing.T, path string, more ...string) result {
	t.Helper()
	dial := serve(t, expectations{"/events": nil}.handle)
	arguments := append([]string{"-url", "http://in.memory:80" + path, "-open", "20ms", "-settle", "50ms", "-duration", "300ms"}, more...)
	p, err := parseStreamsPlan(arguments)
	if err != nil {
		t.Fatal(err)
	}
	p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return delayedConn{conn}, err
	}
	var out bytes.Buffer
	if err := p.measure(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return resultIn(t, out.String())
}

// delayedConn delays each read by 3 ms.
type delayedConn struct{ net.Conn }

func (c delayedConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	time.Sleep(3 * time.Millisecond)
	return n, err
}

func TestStreamsMeasureTheDelayOfTheirEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := measureStreams(t, "/events/1?events=1000&every=20ms", "-streams", "5")
		if want := (result{Seconds: 0.3, Count: 75, P50: 3000, P90: 3000, P99: 3000, Max: 3000}); got != want {
			t.Errorf("expected %+v, got %+v", want, got)
		}
	})
}

func TestAStreamThatEndsOrHasOtherDataIsAFailure(t *testing.T) {
	for _, c := range []struct{ name, path, end, wanted string }{
		{"ends", "/events/1?events=2", eventEnd, "expected more events"},
		{"other data", "/events/1?events=9&every=1ms", "#", `and "#", got "data: `},
		{"no stream", "/gone", eventEnd, "expected status 200, got 418"},
		{"odd query", "/events/1?events=x", eventEnd, "expected status 200, got 418"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := measureStreams(t, c.path, "-end", c.end)
				if got.Failures != 1 || !strings.Contains(got.FirstFailure, c.wanted) {
					t.Errorf("expected one failure with %q, got %+v", c.wanted, got)
				}
			})
		})
	}
}

func TestGenerateCountsTheMarksOfABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, func(exchange *fasthttp.RequestCtx) { exchange.SetBodyString("a~b~") })
		if got := measure(t, dial, "-mark", "~", "-marks", "2"); got.Failures != 0 || got.Count != 200 {
			t.Errorf("expected only right answers, got %+v", got)
		}
		got := measure(t, dial, "-mark", "~", "-marks", "3")
		if got.Count != 0 || got.FirstFailure != `expected "~" 3 times in the body, got it 2 times` {
			t.Errorf("expected only wrong answers, got %+v", got)
		}
	})
}
