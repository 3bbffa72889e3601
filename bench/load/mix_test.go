package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

// sendFor sends one flow for a while and returns the columns of its lines.
func sendFor(t *testing.T, duration time.Duration, dial dialer, f flow) [][]string {
	t.Helper()
	f.Name = "flow"
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	m := mix{Address: "in.memory:80", Flows: []flow{f}, dial: func(address string) (net.Conn, error) { return dial(ctx, "tcp", address) }}
	var out bytes.Buffer
	if err := m.send(ctx, &out); err != nil {
		t.Fatal(err)
	}
	var columns [][]string
	for line := range strings.Lines(out.String()) {
		columns = append(columns, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return columns
}

func TestEachRequestHasALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, func(exchange *fasthttp.RequestCtx) { exchange.SetBody(exchange.Request.Header.Peek("x-odd")) })
		got := sendFor(t, 199*time.Millisecond, dial, flow{Path: "/a", Rate: 100, Connections: 4, Seconds: 1})
		if len(got) != 20 {
			t.Errorf("expected 20 requests in 0.2 s, got %d", len(got))
		}
		for _, columns := range got {
			if len(columns) != 6 || columns[0] != "flow" || columns[2] != "0.001000" || columns[3] != "200" || columns[5] != "" {
				t.Fatalf("expected flow, due, took, 200 and nothing more, got %q", columns)
			}
		}
	})
}

func TestACountedFlowEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := sendFor(t, time.Minute, serve(t, func(*fasthttp.RequestCtx) {}), flow{Path: "/", Rate: 500, Connections: 8, Seconds: 1, Count: 7})
		if len(got) != 7 {
			t.Errorf("expected 7 requests, got %d", len(got))
		}
	})
}

func TestALineHasTheProblem(t *testing.T) {
	whole := `{"type":"about:blank","title":"Unavailable","status":503,"detail":"No\texecutor.","requestId":"1"}`
	anonymous := `{"title":"Unavailable","status":503}`
	for _, c := range []struct {
		name, status, retry, problem string
		handler                      fasthttp.RequestHandler
	}{
		{"problem", "503", "1", "No executor.", answering(503, "application/problem+json", whole)},
		{"problem without request id", "503", "1", `bare: "{\"title\":\"Unavailable\",\"status\":503}"`, answering(503, "application/problem+json", anonymous)},
		{"text", "503", "1", `bare: "sorry"`, answering(503, "text/plain", "sorry")},
		{"broken", "0", "", "broken", func(exchange *fasthttp.RequestCtx) { _ = exchange.Conn().Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := sendFor(t, 50*time.Millisecond, serve(t, c.handler), flow{Path: "/", Rate: 50, Connections: 4, Seconds: 1})
				if first := got[0]; first[3] != c.status || first[4] != c.retry || first[5] != c.problem {
					t.Errorf("expected %s, Retry-After %q, %q; got %q", c.status, c.retry, c.problem, first)
				}
			})
		})
	}
}

func answering(status int, contentType, body string) fasthttp.RequestHandler {
	return func(exchange *fasthttp.RequestCtx) {
		exchange.Response.Header.Set("Retry-After", "1")
		exchange.SetContentType(contentType)
		exchange.SetStatusCode(status)
		exchange.SetBodyString(body)
	}
}

func TestRequestsBeyondTheConnectionsAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		dial := serve(t, func(*fasthttp.RequestCtx) { <-release })
		t.Cleanup(func() { close(release) })
		got := sendFor(t, 99*time.Millisecond, dial, flow{Path: "/", Rate: 100, Connections: 2, Seconds: 0.2})
		count := map[string]int{}
		for _, columns := range got {
			count[columns[5]]++
		}
		if count["timeout"] != 2 || count["unsent"] != 8 || len(got) != 10 {
			t.Errorf("expected two timeouts and eight unsent, got %v", count)
		}
	})
}

func TestARequestIsSentAgainAsOftenAsTheFlowSays(t *testing.T) {
	for retries, want := range map[int]string{0: "0", 1: "0", 2: "200"} {
		synctest.Test(t, func(t *testing.T) {
			var seen atomic.Int32
			dial := serve(t, func(exchange *fasthttp.RequestCtx) {
				if seen.Add(1) <= 2 {
					_ = exchange.Conn().Close()
				}
			})
			got := sendFor(t, time.Second, dial, flow{Path: "/", Rate: 50, Connections: 1, Seconds: 1, Count: 1, Retries: retries})
			if got[0][3] != want {
				t.Errorf("expected the status %s with %d retries, got %q", want, retries, got[0])
			}
		})
	}
}

func TestAnyByteCanBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan string, 1)
		dial := serve(t, func(exchange *fasthttp.RequestCtx) { seen <- string(exchange.Request.Header.Peek("X-Odd")) })
		sendFor(t, time.Second, dial, flow{Path: "/", Headers: [][2]string{{"X-Odd", "\u00ff\u00fe"}}, Rate: 50, Connections: 1, Seconds: 1, Count: 1})
		if got := <-seen; got != "\xff\xfe" {
			t.Errorf("expected the bytes ff fe, got %q", got)
		}
	})
}

func TestAMixIsReadFromAFile(t *testing.T) {
	for content, want := range map[string]string{
		`{"address":"a:1","flows":[{"name":"go","path":"/","rate":1,"connections":1,"seconds":1}]}`: "",
		`{"flows":[{"name":"go","rate":0}]}`: `flow "go": expected rate > 0`,
		`[`:                                  "unexpected end of JSON",
	} {
		path := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readMix(path)
		switch {
		case want == "" && (err != nil || len(got.Flows) != 1):
			encoded, _ := json.Marshal(got)
			t.Errorf("expected one flow, got %s, %v", encoded, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("expected an error with %q, got %v", want, err)
		}
	}
}
