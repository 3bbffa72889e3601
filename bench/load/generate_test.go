package main

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// measure runs the generator for a short time and returns what it printed last.
func measure(t *testing.T, address string, more ...string) result {
	t.Helper()
	arguments := append([]string{"-url", "http://" + address + "/go/1", "-warmup", "50ms", "-duration", "200ms"}, more...)
	p, err := parsePlan(arguments)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := generate(t.Context(), p, &out); err != nil {
		t.Fatal(err)
	}
	return resultIn(t, out.String())
}

// resultIn is the result that a load has printed, after "begin" and "end".
func resultIn(t *testing.T, printed string) result {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	if len(lines) != 3 || lines[0] != "begin" || lines[1] != "end" {
		t.Fatalf("expected begin, end and a result, got %q", lines)
	}
	var got result
	if err := json.Unmarshal([]byte(lines[2]), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// serve answers with the handler on a free port until the test ends.
func serve(t *testing.T, handler fasthttp.RequestHandler) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: handler, CloseOnShutdown: true, Logger: quiet{}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestClosedLoopCountsRightAnswers(t *testing.T) {
	var seen atomic.Int64
	address := serve(t, func(exchange *fasthttp.RequestCtx) {
		seen.Add(1)
		exchange.Response.Header.SetBytesV("X-Echo", exchange.Request.Header.Peek("X-Sent"))
	})
	got := measure(t, address, "-connections", "4", "-header", "X-Sent: a:b", "-expect", "x-echo: a:b")
	if got.Failures != 0 || got.Count == 0 || got.Seconds != 0.2 {
		t.Fatalf("expected right answers over 0.2 s, got %+v", got)
	}
	if int64(got.Count) >= seen.Load() {
		t.Errorf("expected the warm-up left out: counted %d of %d", got.Count, seen.Load())
	}
	if got.P50 < 1 || got.P50 > got.P90 || got.P90 > got.P99 || got.P99 > got.Max {
		t.Errorf("expected 0 < p50 ≤ p90 ≤ p99 ≤ max, got %+v", got)
	}
}

func TestWrongAnswersAreFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler fasthttp.RequestHandler
		want    string
	}{
		{"status", func(exchange *fasthttp.RequestCtx) { exchange.Error("no tea", 418) }, "expected status 200, got 418: no tea"},
		{"header missing", func(*fasthttp.RequestCtx) {}, `expected header X-Go: 1, got ""`},
		{"header wrong", func(exchange *fasthttp.RequestCtx) { exchange.Response.Header.Set("X-Go", "2") }, `expected header X-Go: 1, got "2"`},
		{"connection lost", func(exchange *fasthttp.RequestCtx) { _ = exchange.Conn().Close() }, "receive: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := measure(t, serve(t, c.handler), "-expect", "X-Go: 1")
			if got.Count != 0 || got.Failures == 0 || !strings.HasPrefix(got.FirstFailure, c.want) {
				t.Errorf("expected only failures, %q, got %+v", c.want, got)
			}
		})
	}
}

func TestNobodyListeningIsAFailureNotAStorm(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	got := measure(t, address)
	if got.Count != 0 || got.Failures == 0 || got.Failures > 26 || !strings.HasPrefix(got.FirstFailure, "connect: ") {
		t.Errorf("expected at most one failure every %s, got %+v", pauseAfterBreak, got)
	}
}

func TestConnectionThatTheServerClosesIsOpenedAgain(t *testing.T) {
	address := serve(t, func(exchange *fasthttp.RequestCtx) { exchange.SetConnectionClose() })
	if got := measure(t, address, "-connections", "2"); got.Failures != 0 || got.Count < 2 {
		t.Errorf("expected no failure, got %+v", got)
	}
}

func TestAnAnswerAfterTheGraceIsAFailure(t *testing.T) {
	release := make(chan struct{})
	address := serve(t, func(*fasthttp.RequestCtx) { <-release })
	t.Cleanup(func() { close(release) })
	got := measure(t, address, "-grace", "50ms")
	if got.Count != 0 || got.Failures != 1 || !strings.Contains(got.FirstFailure, "timeout") {
		t.Errorf("expected one failure, got %+v", got)
	}
}

// That no request is left out is for the schedule's own test: here a busy machine may wake the generator after the end.
func TestOpenLoopSendsNoMoreThanItsRate(t *testing.T) {
	got := measure(t, serve(t, func(*fasthttp.RequestCtx) {}), "-connections", "4", "-rate", "200")
	if sent := got.Count + got.Unsent; got.Failures != 0 || got.Count == 0 || sent > 40+4 {
		t.Errorf("expected 40 requests in 0.2 s, of each connection one more at most, which was due before, got %+v", got)
	}
}

func TestOpenLoopDoesNotHideAStall(t *testing.T) {
	var seen atomic.Int64
	address := serve(t, func(*fasthttp.RequestCtx) {
		if seen.Add(1) == 12 {
			time.Sleep(100 * time.Millisecond)
		}
	})
	got := measure(t, address, "-rate", "100")
	if got.Failures != 0 || got.P90 < 50_000 {
		t.Errorf("expected those who waited for the stalled one to count from when they were due, got %+v", got)
	}
}

func TestOpenLoopIsBoundedByItsConnections(t *testing.T) {
	address := serve(t, func(*fasthttp.RequestCtx) { time.Sleep(60 * time.Millisecond) })
	if got := measure(t, address, "-rate", "1000"); got.Failures != 0 || got.Unsent < 100 {
		t.Errorf("expected most of 250 requests not sent over one slow connection, got %+v", got)
	}
}
