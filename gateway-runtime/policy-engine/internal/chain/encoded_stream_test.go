package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/sdk/policy/v1alpha"
)

// flushed encodes texts to pieces, each of which can be decoded when it has come.
func flushed(codings string, texts ...string) []string {
	parsed, err := contentcoding.ParseCodings(slices.Values([]string{codings}))
	if err != nil {
		panic(err)
	}
	encoder := contentcoding.NewEncoder(parsed)
	defer encoder.Close()
	var pieces []string
	for _, text := range texts {
		pieces = append(pieces, string(encoder.Encode([]byte(text), false)))
	}
	return append(pieces, string(encoder.Encode(nil, true)))
}

// sent joins the sent pieces of a body; the transcript shows encoded pieces, which are illegible.
type sent struct {
	*transcript
	body [2]bytes.Buffer
}

func (s *sent) SendPiece(ctx context.Context, direction chain.Direction, piece []byte) error {
	s.body[direction].Write(piece)
	return s.transcript.SendPiece(ctx, direction, piece)
}

func (s *sent) SendLast(ctx context.Context, direction chain.Direction, piece []byte, end chain.End) error {
	s.body[direction].Write(piece)
	return s.transcript.SendLast(ctx, direction, piece, end)
}

func (s *sent) run(test *testing.T, instances ...*chain.Instance) error {
	test.Helper()
	c, err := chain.New(chain.Spec{
		ID: "c1", API: "orders", APIVersion: "v1", Context: "/orders", Operation: "GET /{id}", Instances: instances,
		Observer: &s.observer, EncodedResponses: s.encodes, Bodies: chain.NewBudget(128 << 20),
	})
	if err != nil {
		test.Fatal(err)
	}
	return c.Run(test.Context(), s, nil, nil)
}

func (s *sent) headers() string {
	for _, line := range slices.Backward(s.lines) {
		if strings.HasPrefix(line, "send re") {
			return line
		}
	}
	return ""
}

func encodedStream(codings string, texts ...string) *sent {
	x := get()
	x.response.Ended, x.responsePieces = false, flushed(codings, texts...)
	x.response.Headers = headers("content-encoding", codings, "etag", `"v1"`)
	return &sent{transcript: x}
}

func TestAStreamGetsEachFlushOfTheUpstream(t *testing.T) {
	for _, codings := range []string{"gzip", "deflate", "br", "zstd", "gzip, br"} {
		everyKind(t, func(t *testing.T, kind string) {
			x := encodedStream(codings, "one", "two")
			if err := x.run(t, x.streams(kind, "policy", "S", wraps)); err != nil {
				t.Error(err)
			}
			read := x.responsePieces
			x.expect(t, fmt.Sprintf(`
				send request set=accept-encoding:identity
				wait for the response
				policy: response stream 200
				read %s
				send response remove=content-encoding set=etag:W/"v1",vary:accept-encoding body follows
				send part policy(one)
				read %s
				send part policy(two)
				read %s
				policy ends
				send all of`, legible([]byte(read[0])), legible([]byte(read[1])), legible([]byte(read[2]))))
		})
	}
}

func TestAStreamedRequestIsDecoded(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := &sent{transcript: post(flushed("zstd", "one", "two")...)}
		x.request.Headers = headers("content-encoding", "zstd", "content-length", "99", "content-digest", "x")
		if err := x.run(t, x.streams(kind, "policy", "s", wraps), x.tells("next", "b", "")); err != nil {
			t.Error(err)
		}
		if got := x.body[chain.Request].String(); got != "policy(one)policy(two)" {
			t.Errorf("got %q", got)
		}
		if got := x.headers(); got != "send request remove=content-length,content-encoding,content-digest body follows" {
			t.Errorf("got %s", got)
		}
		if !slices.Contains(x.lines, `next: encoding "", length ""`) || !slices.Contains(x.lines, "next: request body policy(one)policy(two)") {
			t.Errorf("got %q", x.lines)
		}
	})
}

func TestAStreamIsReencodedIfTheClientAcceptsIt(t *testing.T) {
	for _, codings := range []string{"gzip", "deflate", "br", "zstd", "gzip, br"} {
		x := encodedStream(codings, "one", "two")
		x.encodes = true
		x.request.Headers = headers("accept-encoding", "gzip, deflate, br, zstd")
		if err := x.run(t, x.streams("inline", "policy", "S", wraps)); err != nil {
			t.Error(err)
		}
		if got := x.headers(); got != `send response set=etag:W/"v1",vary:accept-encoding body follows` {
			t.Errorf("%s: got %s", codings, got)
		}
		parsed, _ := contentcoding.ParseCodings(slices.Values([]string{codings}))
		decoder := contentcoding.NewDecoder(parsed, func() ([]byte, error) {
			return bytes.Clone(x.body[chain.Response].Next(1)), map[bool]error{true: io.EOF}[x.body[chain.Response].Len() == 0]
		})
		var text []byte
		for err := error(nil); err == nil; {
			var piece []byte
			piece, err = decoder.Next()
			text = append(text, piece...)
		}
		decoder.Close()
		if string(text) != "policy(one)policy(two)" {
			t.Errorf("%s: got %q", codings, text)
		}
	}
}

func TestAStreamThatCannotBeDecodedFails(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		whole := flushed("gzip", "one", "two")
		for name, pieces := range map[string][]string{
			"garbage": {"zip"}, "truncated": whole[:2], "bytes behind the end": append(slices.Clone(whole), "more"),
		} {
			x := &sent{transcript: post(pieces...)}
			x.request.Headers = headers("content-encoding", "gzip")
			_ = x.run(t, x.streams(kind, "policy", "s", gathered))
			if last := x.lines[len(x.lines)-1]; last != unsupported {
				t.Errorf("%s: got %s", name, last)
			}
			if seen := x.observer.of("policy:v1.0.0"); len(seen) != 1 || seen[0].Failure == nil || seen[0].Failure.Class != v1alpha.ClassBadBody {
				t.Errorf("%s: observed %+v", name, seen)
			}
		}
	})
}

// gathered yields once it has read the whole body.
func gathered(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		var all []byte
		for chunk, err := range chunks {
			if err != nil {
				yield(nil, err)
				return
			}
			all = append(all, chunk...)
		}
		yield(all, nil)
	}
}

func TestAStreamCutAfterTheHeadersIsNeverComplete(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := encodedStream("gzip", "one", "two")
		x.responsePieces = x.responsePieces[:2]
		err := x.run(t, x.streams(kind, "policy", "S", wraps))
		if err == nil || strings.HasPrefix(x.lines[len(x.lines)-1], "send all of") {
			t.Errorf("got %v, %q", err, x.lines)
		}
	})
}

func TestABombInAStreamIsRefused(t *testing.T) {
	small := encoded(bomb, "zstd")
	everyKind(t, func(t *testing.T, kind string) {
		x := &sent{transcript: post(small)}
		x.request.Headers = headers("content-encoding", "zstd")
		count := 0
		_ = x.run(t, x.streams(kind, "policy", "s", func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
			return func(yield func([]byte, error) bool) {
				for chunk, err := range chunks {
					if count += len(chunk); err != nil {
						yield(nil, err)
						return
					}
				}
			}
		}))
		if last := x.lines[len(x.lines)-1]; last != unsupported || count > contentcoding.BombFloor {
			t.Errorf("after %d bytes: got %.300s", count, last)
		}
	})
}

func TestStreamsThatAreNotDecoded(t *testing.T) {
	x := encodedStream("gzip", "one")
	_ = x.run(t, x.streams("inline", "passes", "S", after(9, nil, nil), passesEncoded))
	if got := x.body[chain.Response].String(); got != strings.Join(x.responsePieces, "") || x.headers() != "send response body follows" {
		t.Errorf("got %q, %s", got, x.headers())
	}
	x = encodedStream("gzip", "one")
	_ = x.run(t, x.streams("inline", "refuses", "S", wraps, refusesEncoded))
	if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 502 policy_badBody") {
		t.Errorf("got %s", last)
	}
	x = encodedStream("gzip", "one")
	x.response.Headers = headers("content-encoding", "compress")
	_ = x.run(t, x.streams("inline", "goes on", "S", wraps, goesOn))
	if got := x.body[chain.Response].String(); got != "" || !slices.Contains(x.lines, "send the rest") {
		t.Errorf("expected the body to pass by, got %q", x.lines)
	}
}

func TestPoliciesOfAllKindsBehindAnEncodedBody(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := encodedStream("gzip", "one", "two")
		x.encodes = true
		x.request.Headers = headers("accept-encoding", "gzip")
		// responses pass from the last to the first
		_ = x.run(t, x.tells("headers", "H", ""), x.tells("buffers", "B", ""), x.streams(kind, "streams", "S", wraps),
			x.tells("reads", "B", ""), x.tells("passes", "B", "", passesEncoded))
		for _, line := range []string{
			`passes: encoding "gzip", length ""`, `reads: response 200 body onetwo`, `reads: encoding "", length ""`,
			"buffers: response 200 body streams(one)streams(two)", `headers: encoding "", length ""`,
		} {
			if !slices.Contains(x.lines, line) {
				t.Errorf("expected %s, got %q", line, x.lines)
			}
		}
		if got := legible(x.body[chain.Response].Bytes()); got != "gzip(streams(one)streams(two))" {
			t.Errorf("got %s", got)
		}
	})
}

func TestAPolicysOwnEncodedAnswerIsDecodedForStreams(t *testing.T) {
	x := get()
	_ = x.run(t, x.streams("inline", "streams", "S", wraps), x.onRequest("answers", "h", &v1alpha.ImmediateResponse{
		StatusCode: 200, Headers: headers("content-encoding", "gzip"), Body: []byte(encoded("hello", "gzip")),
	}, nil))
	x.expect(t, `
		answers: request
		streams: response stream 200
		streams ends
		answer 200 policy_answer [] streams(hello)`)
}

func TestADecodersMemoryIsReleased(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		budget := chain.NewBudget(64 << 20)
		run := func(flow flow) {
			x := encodedStream("br", strings.Repeat("some text ", 20_000), "two")
			c, err := chain.New(chain.Spec{ID: "c1", Instances: []*chain.Instance{x.streams(kind, "policy", "S", flow)}, Bodies: budget})
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Run(t.Context(), x, nil, nil)
		}
		run(wraps)
		run(after(1, nil, nil))
		run(after(1, nil, errors.New("no")))
		if held := budget.Stats().Held; held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
	})
}
