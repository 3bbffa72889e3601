package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

// measure runs the generator for a short time and returns its result.
func measure(t *testing.T, dial dialer, more ...string) result {
	t.Helper()
	arguments := append([]string{"-url", "http://in.memory:80/go/1", "-warmup", "50ms", "-duration", "200ms"}, more...)
	p, err := parsePlan(arguments)
	if err != nil {
		t.Fatal(err)
	}
	p.dial = dial
	var out bytes.Buffer
	if err := generate(t.Context(), p, &out); err != nil {
		t.Fatal(err)
	}
	return resultIn(t, out.String())
}

// resultIn returns the result that a load has printed after "begin" and "end".
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

// answerDelay is the time before each answer: without it no time would pass in a bubble, and a closed loop would not end.
const answerDelay = time.Millisecond

// serve answers with the handler until the test ends, in memory and in a bubble of synctest, where all times are exact.
func serve(t *testing.T, handler fasthttp.RequestHandler) dialer {
	t.Helper()
	listener := fasthttputil.NewInmemoryListener()
	slow := func(exchange *fasthttp.RequestCtx) {
		time.Sleep(answerDelay)
		handler(exchange)
	}
	server := &fasthttp.Server{Handler: slow, CloseOnShutdown: true, Logger: noLog{}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // of the bubble: fasthttp's server and client stop idle goroutines every 10 s
	})
	return func(context.Context, string, string) (net.Conn, error) { return listener.Dial() }
}

func TestClosedLoopCountsRightAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int64
		dial := serve(t, func(exchange *fasthttp.RequestCtx) {
			seen.Add(1)
			exchange.Response.Header.SetBytesV("X-Echo", exchange.Request.Header.Peek("X-Sent"))
		})
		got := measure(t, dial, "-connections", "4", "-header", "X-Sent: a:b", "-expect", "x-echo: a:b")
		if want := (result{Seconds: 0.2, Count: 4 * 200, P50: 1000, P90: 1000, P99: 1000, Max: 1000}); got != want {
			t.Errorf("expected %+v, got %+v", want, got)
		}
		if all := seen.Load(); all != 4*250 {
			t.Errorf("expected 1000 requests with those of the warm-up, got %d", all)
		}
	})
}

func TestTheGeneratorReachesAServerOnTheNetwork(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	server := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) { stop() }, CloseOnShutdown: true, Logger: noLog{}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	p, err := parsePlan([]string{"-url", "http://" + listener.Addr().String() + "/", "-warmup", "0s", "-duration", "1h"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := generate(ctx, p, &out); err != nil {
		t.Fatal(err)
	}
	if got := resultIn(t, out.String()); got.Count == 0 || got.Failures != 0 {
		t.Errorf("expected only right answers, got %+v", got)
	}
	if err := errors.Join(server.Shutdown(), <-served); err != nil {
		t.Error(err)
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
			synctest.Test(t, func(t *testing.T) {
				got := measure(t, serve(t, c.handler), "-expect", "X-Go: 1")
				if got.Count != 0 || got.Failures != 250 || !strings.HasPrefix(got.FirstFailure, c.want) {
					t.Errorf("expected 250 failures, %q, got %+v", c.want, got)
				}
			})
		})
	}
}

func TestRefusedConnectionsAreRetriedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
		got := measure(t, refused)
		if got.Count != 0 || got.Failures != 25 || !strings.HasPrefix(got.FirstFailure, "connect: ") {
			t.Errorf("expected one failure every %s, 25, got %+v", pauseAfterBreak, got)
		}
	})
}

func TestAClosedConnectionIsReopened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, func(exchange *fasthttp.RequestCtx) { exchange.SetConnectionClose() })
		if got := measure(t, dial, "-connections", "2"); got.Failures != 0 || got.Count != 2*200 {
			t.Errorf("expected 400 right answers and no failure, got %+v", got)
		}
	})
}

func TestAnAnswerAfterTheGraceIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		dial := serve(t, func(*fasthttp.RequestCtx) { <-release })
		t.Cleanup(func() { close(release) })
		got := measure(t, dial, "-grace", "50ms")
		if got.Count != 0 || got.Failures != 1 || !strings.Contains(got.FirstFailure, "timeout") {
			t.Errorf("expected one failure, got %+v", got)
		}
	})
}

func TestOpenLoopSendsAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := measure(t, serve(t, func(*fasthttp.RequestCtx) {}), "-connections", "4", "-rate", "200")
		if got.Failures != 0 || got.Count != 40 || got.Unsent != 0 {
			t.Errorf("expected 40 requests in 0.2 s, got %+v", got)
		}
	})
}

func TestOpenLoopDoesNotHideAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int64
		dial := serve(t, func(*fasthttp.RequestCtx) {
			if seen.Add(1) == 12 {
				time.Sleep(100 * time.Millisecond)
			}
		})
		got := measure(t, dial, "-rate", "100")
		if want := (result{Seconds: 0.2, Count: 20, P50: 11_000, P90: 83_000, P99: 101_000, Max: 101_000}); got != want {
			t.Errorf("expected requests that waited for the stalled one to count from the time at which they were due: %+v, got %+v", want, got)
		}
	})
}

func TestOpenLoopIsBoundedByItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, func(*fasthttp.RequestCtx) { time.Sleep(60 * time.Millisecond) })
		if got := measure(t, dial, "-rate", "1000"); got.Failures != 0 || got.Unsent < 200 {
			t.Errorf("expected most of 250 requests not sent over one slow connection, got %+v", got)
		}
	})
}
