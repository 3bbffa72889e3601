package extproc_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// wire is one pair of protocols: the client's and upstream's.
type wire struct {
	name     string
	h2c      bool   // the client speaks HTTP/2
	upstream string // http1 or http2
}

var wires = []wire{
	{"http1-to-http1", false, "http1"}, {"http1-to-http2", false, "http2"},
	{"http2-to-http1", true, "http1"}, {"http2-to-http2", true, "http2"},
}

// everyWire runs test for each pair of protocols without watchers, and for one of them with a watcher: that makes no
// difference to client or upstream, and the engine sees the same messages with all protocols.
func everyWire(t *testing.T, test func(*testing.T, wire)) {
	t.Helper()
	needEnvoy(t)
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
	watched := wires[len(wires)-1]
	t.Run(watched.name+"-watched", func(t *testing.T) {
		testbed.watch(t)
		test(t, watched)
	})
}

// shape is a form in which a request may come.
type shape struct {
	name, method string
	size         int  // of the body; -1: there is none
	chunked      bool // its length is not declared
	trailers     bool
}

var shapes = []shape{
	{"ends with its headers", "GET", -1, false, false},
	{"HEAD", "HEAD", -1, false, false},
	{"content-length 0", "POST", 0, false, false},
	{"empty body of unknown length", "POST", 0, true, false},
	{"trailers without data", "POST", 0, true, true},
	{"data and trailers", "POST", 1000, true, true},
	{"POST", "POST", 1000, false, false},
	{"GET with a body", "GET", 1000, false, false},
	{"chunked", "POST", 1000, true, false},
	{"more than Envoy buffers", "POST", 5 << 18, false, false},
}

// huge is many times the buffers of Envoy or a connection.
var huge = shape{"6 MiB chunked", "POST", 6 << 20, true, false}

func (s shape) body() io.Reader {
	if s.size < 0 {
		return nil
	}
	reader := bytes.NewReader(bytes.Repeat([]byte("x"), s.size))
	if s.chunked {
		return io.MultiReader(reader) // hides the length
	}
	return reader
}

func (s shape) change(r *http.Request) {
	r.Header.Set("X-Answer", "echo")
	if s.chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"} // also when it is empty
	}
	if s.trailers {
		r.Trailer = http.Header{"X-Last": {"sum"}}
	}
}

func (s shape) send(t *testing.T, w wire, path string) (*reply, *arrival) {
	t.Helper()
	return do(t, w.upstream, w.h2c, s.change, s.method, path, s.body())
}

// everyShape runs test for each form of a request, on every wire.
func everyShape(t *testing.T, test func(*testing.T, wire, shape)) {
	t.Helper()
	everyWire(t, func(t *testing.T, w wire) {
		for _, s := range shapes {
			t.Run(s.name, func(t *testing.T) { test(t, w, s) })
		}
	})
}

func TestDenyingPolicyIsNeverPassedBy(t *testing.T) {
	everyShape(t, func(t *testing.T, w wire, s shape) {
		for _, chain := range []string{"deny-header", "deny-body"} {
			want := http.StatusUnauthorized
			if chain == "deny-body" && s.size > 1<<20 {
				want = http.StatusRequestEntityTooLarge
			}
			reply, arrived := s.send(t, w, "/"+chain+"/x")
			if arrived != nil {
				t.Errorf("%s: upstream was reached: %s", chain, arrived.Method)
			}
			if reply.StatusCode != want || reply.Header.Get("X-Order") != "outer" {
				t.Errorf("%s: got %d, X-Order %q", chain, reply.StatusCode, reply.Header.Get("X-Order"))
			}
		}
	})
}

func TestMessagesPassAsTheyAre(t *testing.T) {
	everyShape(t, passesAsItIs)
	passesAsItIs(t, wires[1], huge)
}

func passesAsItIs(t *testing.T, w wire, s shape) {
	t.Helper()
	for _, chain := range []string{"order", "pass-bodies", "small-goes-on"} {
		reply, arrived := s.send(t, w, "/"+chain+"/x")
		if reply.StatusCode != http.StatusOK || arrived == nil {
			t.Fatalf("%s: got %d; arrived %v", chain, reply.StatusCode, arrived != nil)
		}
		want := strings.Repeat("x", max(s.size, 0))
		if arrived.Body != want || reply.body != want {
			t.Errorf("%s: %d bytes of %d arrived, %d came back", chain, len(arrived.Body), s.size, len(reply.body))
		}
		if s.trailers && arrived.Trailer.Get("X-Last") != "sum" {
			t.Errorf("%s: trailers: %v", chain, arrived.Trailer)
		}
		if !s.chunked && s.size > 0 && arrived.ContentLength != int64(s.size) {
			t.Errorf("%s: content-length %d", chain, arrived.ContentLength)
		}
	}
}

func TestRequestBodyOfAPolicy(t *testing.T) {
	everyShape(t, func(t *testing.T, w wire, s shape) {
		for chain, want := range map[string]string{"adds-body": "added", "adds-body-duplex": "added", "empties-body": ""} {
			if s.size > 1<<20 {
				continue
			}
			reply, arrived := s.send(t, w, "/"+chain+"/x")
			if reply.StatusCode != http.StatusOK || arrived == nil || arrived.Body != want {
				t.Errorf("%s: got %d, arrived %+v", chain, reply.StatusCode, arrived)
			}
		}
	})
}

// TestResponses checks the client's response for each form of the upstream's.
func TestResponses(t *testing.T) {
	const plain, shouted = "upstream", "UPSTREAM!"
	for _, c := range []struct {
		method, chain, answer string
		status                int
		body                  string
		length                int64 // the response's content-length; -1: there is none
	}{
		{"GET", "shout", "", 200, shouted, 9},
		{"GET", "shout", "trailers", 200, "WITH TRAILERS!", -1},
		{"GET", "shout", "stream", 200, "PIECE PIECE PIECE !", -1},
		{"GET", "shout", "204", 204, "", -1},
		{"GET", "shout", "304", 304, "", -1},
		{"HEAD", "shout", "", 200, "", 1}, // of the body that GET would have, had the policy seen upstream's
		{"HEAD", "pass-bodies", "", 200, "", 8},
		{"HEAD", "order", "", 200, "", 8},
		{"GET", "shout-headers", "", 200, "!", -1}, // replaced without having been read
		{"GET", "shout-headers", "trailers", 200, "!", -1},
		{"GET", "shout-headers", "204", 204, "", -1},
		{"HEAD", "shout-headers", "", 200, "", 1},
		{"GET", "status", "", 203, plain, 8},
		{"GET", "no-content", "", 204, "", -1},
		{"GET", "no-content-body", "", 204, "", -1},
		{"GET", "empties-body", "", 200, "", 0},
		{"GET", "answers-late", "", 418, "teapot", 6},
		{"HEAD", "answers-late", "", 418, "", 6},
		{"HEAD", "deny-header", "", 401, "", 6},
	} {
		everyWire(t, func(t *testing.T, w wire) {
			reply, _ := do(t, w.upstream, w.h2c, func(r *http.Request) { r.Header.Set("X-Answer", c.answer) }, c.method, "/"+c.chain+"/x", nil)
			length := reply.ContentLength
			if reply.Header.Get("Content-Length") == "" {
				length = -1
			}
			if reply.StatusCode != c.status || reply.body != c.body || length != c.length {
				t.Errorf("%s %s %s: got %d %q, content-length %d", c.method, c.chain, c.answer, reply.StatusCode, reply.body, length)
			}
			if c.answer == "trailers" && reply.Trailer.Get("X-End") != "reached" {
				t.Errorf("%s %s: trailers %v", c.method, c.chain, reply.Trailer)
			}
		})
	}
}

func TestBodiesOverTheLimit(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		for n, c := range []struct {
			size   int
			answer string
			status int
		}{{1001, "echo", 413}, {5 << 20, "echo", 413}, {1000, "echo", 200}, {1, "large", 502}} {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				reply, arrived := do(t, w.upstream, w.h2c, func(r *http.Request) { r.Header.Set("X-Answer", c.answer) },
					"POST", "/small/x", bytes.NewReader(make([]byte, c.size)))
				if reply.StatusCode != c.status || reply.Header.Get("X-Order") != "outer" || (arrived != nil) != (c.status != 413) {
					t.Errorf("%d bytes: got %d %v; arrived: %v", c.size, reply.StatusCode, reply.Header, arrived != nil)
				}
				if c.status != 200 && reply.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("content-type %s", reply.Header.Get("Content-Type"))
				}
			})
		}
	})
}
