package extproc_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/await"
)

// converse is an upstream that answers while the request comes: each line by itself, with "again: " before it. It ends
// with the request, or after the word "bye".
func converse(w http.ResponseWriter, r *http.Request, conversation string) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	if conversation == "speaks first" {
		_, _ = io.WriteString(w, "hello\n")
		_ = control.Flush()
	}
	lines := bufio.NewReader(r.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(w, "again: "+line)
		_ = control.Flush()
		if strings.HasPrefix(strings.ToLower(line), "bye") {
			return
		}
	}
}

// talk is a request whose body is written while the response is read.
type talk struct {
	*http.Response
	body  *io.PipeWriter
	lines *bufio.Reader
}

// begin sends the headers and the first line, and waits for the response's headers.
func begin(t *testing.T, w wire, path, first string, change func(*http.Request)) *talk {
	t.Helper()
	needEnvoy(t)
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
	t.Cleanup(cancel)
	reader, writer := io.Pipe()
	request := must(http.NewRequestWithContext(ctx, "POST", "http://"+testbed.listeners[w.upstream]+path, reader))
	request.Header.Set("X-Conversation", "yes")
	if change != nil {
		change(request)
	}
	transport := &http.Transport{Protocols: &http.Protocols{}, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}, DisableCompression: true}
	transport.Protocols.SetHTTP1(!w.h2c)
	transport.Protocols.SetUnencryptedHTTP2(w.h2c)
	t.Cleanup(transport.CloseIdleConnections)
	go func() { _, _ = io.WriteString(writer, first) }()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(func() { _ = writer.Close(); _ = response.Body.Close() })
	return &talk{response, writer, bufio.NewReader(response.Body)}
}

func (c *talk) say(line string) { _, _ = io.WriteString(c.body, line) }

func (c *talk) hear(t *testing.T, want string) {
	t.Helper()
	if line, err := c.lines.ReadString('\n'); err != nil || line != want {
		t.Fatalf("expected %q, got %q, %v", want, line, err)
	}
}

func TestStreamsOfAnyShape(t *testing.T) {
	everyShape(t, func(t *testing.T, w wire, s shape) {
		body := strings.Repeat("x", max(s.size, 0))
		for chain, want := range map[string][2]string{
			"stream-shout":  {strings.ToUpper(body), strings.ToUpper(body)},
			"stream-lets":   {strings.ToUpper(body), strings.ToUpper(body)},
			"stream-frames": {"<" + body + ">", "<<" + body + ">>"},
			"stream-mixed":  {"<" + strings.ToUpper(body) + ">", "<<" + strings.ToUpper(body) + ">>"},
		} {
			reply, arrived := s.send(t, w, "/"+chain+"/x")
			if reply.StatusCode != http.StatusOK || arrived == nil {
				t.Fatalf("%s: got %d; arrived %v; %.300s", chain, reply.StatusCode, arrived != nil, reply.body)
			}
			if s.method == "HEAD" {
				continue
			}
			if arrived.Body != want[0] || reply.body != want[1] {
				t.Errorf("%s: expected %.20s (%d), got %.20s (%d); came back %.20s (%d)", chain, want[0], len(want[0]),
					arrived.Body, len(arrived.Body), reply.body, len(reply.body))
			}
			if s.trailers && s.size > 0 && arrived.Trailer.Get("X-Last") != "sum" {
				t.Errorf("%s: trailers: %v", chain, arrived.Trailer)
			}
		}
	})
}

func TestChunksGoAsTheyComeInBothDirections(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		c := begin(t, w, "/stream-shout/x", "one\n", nil)
		c.hear(t, "AGAIN: ONE\n")
		c.say("two\n")
		c.hear(t, "AGAIN: TWO\n")
		_ = c.body.Close()
		if rest, err := io.ReadAll(c.lines); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v", rest, err)
		}
	})
}

func TestHeadersGoBeforeTheFirstChunk(t *testing.T) {
	w := wires[3]
	c := begin(t, w, "/stream-lets/x", "", func(r *http.Request) { r.Header.Set("X-Conversation", "speaks first") })
	c.hear(t, "HELLO\n")
	c.say("one\n")
	c.hear(t, "AGAIN: ONE\n")
	_ = c.body.Close()
}

func TestAResponseThatEndsBeforeItsRequest(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		c := begin(t, w, "/stream-shout/x", "bye\n", nil)
		c.hear(t, "AGAIN: BYE\n")
		if rest, err := io.ReadAll(c.lines); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v", rest, err)
		}
	})
}

func TestARejectWhileTheRequestStreams(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		for _, chain := range []string{"stream-rejects-request", "stream-rejects-alone"} {
			select {
			case <-passed: // by another test
			default:
			}
			body := io.MultiReader(strings.NewReader("fine"), &pausing{t}, strings.NewReader("no!"))
			reply, _ := do(t, w.upstream, w.h2c, nil, "POST", "/"+chain+"/x", body)
			if reply.StatusCode != http.StatusTeapot || reply.body != "teapot" {
				t.Errorf("%s: got %d %s", chain, reply.StatusCode, reply.body)
			}
			if chain == "stream-rejects-request" && reply.Header.Get("X-Order") != "outer" {
				t.Errorf("%s: got %v", chain, reply.Header)
			}
		}
	})
}

// pausing is a reader without content, which waits until the policy has passed the bytes before it.
type pausing struct{ t *testing.T }

func (p *pausing) Read([]byte) (int, error) {
	await.Receive(p.t, passed, "a chunk that the policy has passed")
	return 0, io.EOF
}

func TestAFailureBehindTheHeadersIsNoCompleteBody(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		before := testbed.counters.Stats().Failed
		c := begin(t, w, "/stream-fails-response/x", "one\n", nil)
		c.hear(t, "again: one\n")
		c.say("two!\n")
		rest, err := io.ReadAll(c.lines)
		if err == nil || len(rest) > 0 {
			t.Errorf("the client sees a complete body: %q", rest)
		}
		if testbed.counters.Stats().Failed == before {
			t.Errorf("expected it to be counted: %+v", testbed.counters.Stats())
		}
	})
}

func TestARejectOfTheRequestBehindTheHeadersIsNoCompleteBody(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		for _, chain := range []string{"stream-rejects-request", "stream-rejects-alone"} {
			c := begin(t, w, "/"+chain+"/x", "one\n", nil)
			c.hear(t, "again: one\n")
			c.say("two!\n")
			if rest, err := io.ReadAll(c.lines); err == nil || len(rest) > 0 {
				t.Errorf("%s: the client sees a complete body: %q", chain, rest)
			}
		}
	})
}

func TestAStreamThatEndsEarlyEndsTheMessage(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		c := begin(t, w, "/stream-stops/x", "one\n", nil)
		c.hear(t, "again: one\n")
		if rest, err := io.ReadAll(c.lines); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v", rest, err)
		}
	})
}

func TestTrailersOfStreams(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		reply, arrived := do(t, w.upstream, w.h2c, func(r *http.Request) {
			r.Trailer = http.Header{"X-Trailer": {"1"}} // Go's servers leave out those that were not announced
			r.Header.Set("X-Answer", "trailers")
		}, "POST", "/stream-trailers/x", io.MultiReader(strings.NewReader("data")))
		if arrived == nil || arrived.Body != "DATA" || arrived.Trailer.Get("X-Trailer") != "saw 1" {
			t.Errorf("request: %+v", arrived)
		}
		if reply.body != "WITH TRAILERS" || reply.Trailer.Get("X-New") != "1" || reply.Trailer.Get("X-End") != "saw reached" {
			t.Errorf("response: %s, %v", reply.body, reply.Trailer)
		}
		reply, arrived = do(t, w.upstream, w.h2c, nil, "POST", "/stream-trailers/x", strings.NewReader("data"))
		if arrived == nil || len(arrived.Trailer) > 0 || len(reply.Trailer) > 0 || reply.body != "UPSTREAM" {
			t.Errorf("a message without trailers gets none: %+v, %v", arrived, reply.Trailer)
		}
	})
}

func TestAnswersWithoutABodyAreNotStreamed(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		for answer, status := range map[string]int{"204": 204, "304": 304} {
			reply, _ := do(t, w.upstream, w.h2c, func(r *http.Request) { r.Header.Set("X-Answer", answer) }, "GET", "/stream-frames/x", nil)
			if reply.StatusCode != status || reply.body != "" {
				t.Errorf("%s: got %d %q", answer, reply.StatusCode, reply.body)
			}
		}
		reply, _ := do(t, w.upstream, w.h2c, nil, "HEAD", "/stream-frames/x", nil)
		if reply.StatusCode != 200 || reply.Header.Get("Content-Length") != "8" {
			t.Errorf("HEAD: got %d, %v", reply.StatusCode, reply.Header)
		}
		reply, _ = do(t, w.upstream, w.h2c, func(r *http.Request) { r.Header.Set("X-Answer", "empty") }, "GET", "/stream-frames/x", nil)
		if reply.StatusCode != 200 || reply.body != "<>" {
			t.Errorf("an empty one: got %d %q", reply.StatusCode, reply.body)
		}
	})
}

func TestAClientThatGoesEndsItsStreams(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		before := testbed.counters.Stats()
		c := begin(t, w, "/stream-shout/x", "one\n", nil)
		c.hear(t, "AGAIN: ONE\n")
		_ = c.body.CloseWithError(fmt.Errorf("gone"))
		_ = c.Body.Close()
		await.Until(t, "no exchange under way", func() bool { return testbed.counters.Stats().Active == 0 })
		if after := testbed.counters.Stats(); after.Cancelled == before.Cancelled {
			t.Errorf("got %+v", after)
		}
	})
}
