package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

// holding delays the front end's results until lines of the transcript; "never" comes with the end of the wait.
func (t *transcript) holding(until map[string]string) *transcript {
	t.waits = func(ctx context.Context, point string) error {
		if line, ok := until[point]; ok {
			return t.until(ctx, line)
		}
		return nil
	}
	return t
}

func TestTheResponseComesWhileTheRequestGoes(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("a", "b", "c").answers("d", "e")
		x.holding(map[string]string{
			"response": "send part one(a)", "request 1": "send part one(d)", "response 1": "send part one(b)", "request 2": "send part one(e)",
		})
		if err := x.run(t, x.streams(kind, "one", "sS", wraps)); err != nil {
			t.Error(err)
		}
		for _, line := range []string{"send part one(a)", "send part one(b)", "send part one(c)", "send part one(d)", "send part one(e)"} {
			if !slices.Contains(x.lines, line) {
				t.Errorf("expected %q in %v", line, x.lines)
			}
		}
		if ends := strings.Count(strings.Join(x.lines, "\n")+"\n", "send all of\n"); ends != 2 {
			t.Errorf("expected two ends, got %v", x.lines)
		}
	})
}

func TestAFailureOfTheRequestWhileTheResponseIsAwaited(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for point, held := range map[string]map[string]string{
			"its headers": {"response": "never"},
			"its body":    {"request 1": "read ab", "response 1": "never"},
			"its chunk":   {"request 1": "three: response 200 marked four", "response 0": "never"},
		} {
			x := post("a", "b").answers("ab", "cd").holding(held)
			third, body := x.marks("three", "hH"), x.marks("four", "hH")
			switch point {
			case "its body":
				body = x.marks("four", "HB")
			case "its chunk":
				third = x.streams(kind, "three", "HS", wraps)
			}
			err := x.run(t, x.marks("one", "hH"), x.streams(kind, "two", "sH", after(1, nil, errors.New("oh"))), third, body)
			last := x.lines[len(x.lines)-1]
			if err != nil || !strings.HasPrefix(last, "answer 500 policy_exception") || !strings.Contains(last, "x-mark:one") {
				t.Errorf("%s: %v, %v", point, err, x.lines)
			}
			for _, line := range x.lines {
				if strings.HasPrefix(line, "two: response") || strings.HasPrefix(line, "send response") {
					t.Errorf("%s: %v", point, x.lines)
				}
			}
			for _, name := range []string{"one", "three", "four"} { // each hook once, regardless of its input
				if count := strings.Count(strings.Join(x.lines, "\n"), name+": response "); count != 1 && (name != "three" || point != "its chunk") {
					t.Errorf("%s: %s saw %d responses: %v", point, name, count, x.lines)
				}
			}
			if seen := x.observer.of("two:v1.0.0"); len(seen) != 1 || seen[0].Failure == nil || seen[0].Failure.Class != v1alpha.ClassException {
				t.Errorf("%s: observed %+v", point, seen)
			}
		}
	})
}

func TestARejectOfTheRequestWhileTheResponseIsAwaited(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("a", "b").holding(map[string]string{"response": "never"})
		err := x.run(t, x.marks("one", "hH"), x.streams(kind, "two", "s", after(1, nil, &v1alpha.Reject{Response: refusal()})), x.marks("three", "H"))
		if err != nil {
			t.Error(err)
		}
		x.expect(t, `
			one: request
			two: request stream marked one
			read a
			send request set=x-mark:one body follows
			send part a
			read b
			two ends
			three: response 401
			one: response 401 marked three
			answer 401 policy_answer [x-why:key,x-mark:three,x-mark:one] no`)
	})
}

func TestAStreamThatEndsTooLateEndsTheExchange(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for point, x := range map[string]*transcript{
			"of the request":  post("a", "b").answers("c", "d").holding(map[string]string{"request 1": "send part c", "response 1": "never"}),
			"of the response": get().answers("a", "b"),
		} {
			letters := map[bool]string{true: "s", false: "S"}[point == "of the request"]
			err := x.run(t, x.streams(kind, "pass", "S", after(9, nil, nil)), x.streams(kind, "fails", letters, after(1, nil, errors.New("oh"))))
			if err == nil || !strings.Contains(err.Error(), "oh") {
				t.Errorf("%s: got %v, %v", point, err, x.lines)
			}
			mine := false
			for _, line := range x.lines {
				mine = mine || strings.HasPrefix(line, "send response")
				if strings.HasPrefix(line, "answer") || mine && strings.HasPrefix(line, "send all") {
					t.Errorf("%s: %v", point, x.lines)
				}
			}
		}
	})
}

func TestAnAnswerEndsTheRequestsStreams(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("a", "b").answers("c").holding(map[string]string{"request 1": "never"})
		err := x.run(t, x.onResponse("denies", "H", refusal(), nil), x.streams(kind, "two", "s", wraps))
		if last := x.lines[len(x.lines)-1]; err != nil || !strings.HasPrefix(last, "answer 401 policy_answer") {
			t.Errorf("got %v, %v", err, x.lines)
		}
		if seen := x.observer.of("two:v1.0.0"); len(seen) != 1 || !seen[0].Cancelled {
			t.Errorf("observed %+v", seen)
		}
	})
}

func TestTheProxyAnswersWhileAStreamWaits(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("abc", "never").answers("timed out")
		x.respondsAfter, x.response.Status = 1, 408
		hold := after(9, nil, nil)
		_ = x.run(t, x.marks("one", "hH"), x.streams(kind, "two", "sH", func(ctx context.Context, t *transcript, name string, tr *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
			return func(yield func([]byte, error) bool) {
				for _, err := range hold(ctx, t, name, tr, chunks) {
					if err != nil {
						yield(nil, err)
						return
					}
				}
			}
		}), x.marks("three", "hH"))
		x.expect(t, `
			one: request
			two: request stream marked one
			read abc
			two ends
			wait for the response
			one: response 408
			send response set=x-mark:one`)
	})
}

// TestAClientThatGoes: wherever an exchange is, its streams end, and no goroutine is left (goleak).
func TestAClientThatGoes(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for _, at := range []string{"request 0", "request 1", "response", "response 0", "response 1"} {
			x := post("a", "b").answers("c", "d")
			ctx, cancel := context.WithCancel(t.Context())
			x.waits = func(ctx context.Context, point string) error {
				if point != at {
					return nil
				}
				cancel()
				<-ctx.Done()
				return context.Cause(ctx)
			}
			err := x.runWith(ctx, t, x.streams(kind, "one", "sS", wraps), x.marks("mid", "hH"), x.streams(kind, "two", "sS", wraps))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", at, err)
			}
			begun, ended := 0, 0
			for _, line := range x.lines {
				if strings.Contains(line, " stream") {
					begun++
				}
				if strings.HasSuffix(line, " ends") {
					ended++
				}
			}
			if begun != ended {
				t.Errorf("%s: %d begun, %d ended: %v", at, begun, ended, x.lines)
			}
			cancel()
		}
	})
}

func TestOwnWorkIsTimed(t *testing.T) {
	sleeps := func(before, after time.Duration) flow {
		return func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
			return func(yield func([]byte, error) bool) {
				for chunk, err := range chunks {
					if err != nil {
						yield(nil, err)
						return
					}
					time.Sleep(before)
					if !yield(chunk, nil) {
						return
					}
					time.Sleep(after)
				}
			}
		}
	}
	lasting := func(s *chain.Settings) { s.Timeout = time.Second }
	slow := func(ctx context.Context, point string) error {
		time.Sleep(time.Minute) // is not its own
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		x := get().answers("a", "b", "c")
		x.waits = slow
		if err := x.run(t, x.streams("guarded", "one", "S", sleeps(900*time.Millisecond, 900*time.Millisecond), lasting)); err != nil {
			t.Error(err)
		}
		if seen := x.observer.of("one:v1.0.0"); seen[0].Failure != nil || seen[0].Duration < 5*time.Second || seen[0].Duration > 6*time.Second {
			t.Errorf("observed %+v", seen)
		}
	})
	for point, flow := range map[string]flow{"before": sleeps(time.Hour, 0), "after": sleeps(0, time.Hour)} {
		synctest.Test(t, func(t *testing.T) {
			x := get().answers("a", "b", "c")
			instance := x.streams("guarded", "one", "S", flow, lasting)
			began := time.Now()
			err := x.run(t, instance)
			if took := time.Since(began); took != time.Second || instance.Active() != 1 {
				t.Errorf("%s: took %v, %d active", point, took, instance.Active())
			}
			if seen := x.observer.of("one:v1.0.0"); seen[0].Failure == nil || seen[0].Failure.Class != v1alpha.ClassTimeout {
				t.Errorf("%s: observed %+v", point, seen)
			}
			last := x.lines[len(x.lines)-1]
			if point == "before" && (err != nil || !strings.HasPrefix(last, "answer 504 policy_timeout")) || point == "after" && err == nil {
				t.Errorf("%s: got %v, %s", point, err, last)
			}
			time.Sleep(2 * time.Hour) // late, it ends
			if instance.Active() != 0 {
				t.Errorf("%s: %d active", point, instance.Active())
			}
		})
	}
}

func TestAStreamWaitsForChunksAsLongAsItsIdleTimeout(t *testing.T) {
	for kind := range kinds {
		synctest.Test(t, func(t *testing.T) {
			x := get().answers("a", "b").holding(map[string]string{"response 1": "never"})
			idle := func(s *chain.Settings) { s.StreamIdleTimeout = time.Minute }
			began := time.Now()
			err := x.run(t, x.streams(kind, "one", "S", wraps), x.streams(kind, "two", "S", wraps, idle), x.streams(kind, "three", "S", wraps))
			if took := time.Since(began); err == nil || took != time.Minute {
				t.Errorf("%s: got %v after %v", kind, err, took)
			}
			for name, failed := range map[string]bool{"one": false, "two": true, "three": false} {
				seen := x.observer.of(name + ":v1.0.0")
				if len(seen) != 1 || (seen[0].Failure != nil) != failed || failed && seen[0].Failure.Class != v1alpha.ClassTimeout {
					t.Errorf("%s: %s observed %+v", kind, name, seen)
				}
			}
		})
	}
}

// ---------------------------------------------------------------- any chain

// change is a policy's change of a whole body, and of the parts of one.
type change struct {
	whole func([]byte) []byte
	parts flow
}

func mapped(convert func([]byte) []byte) flow {
	return func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			for chunk, err := range chunks {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(convert(chunk), nil) {
					return
				}
			}
		}
	}
}

// framed yields a chunk before and a chunk behind the body.
func framed(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		if !yield([]byte("<"), nil) {
			return
		}
		for chunk, err := range chunks {
			if !yield(chunk, err) || err != nil {
				return
			}
		}
		yield([]byte(">"), nil)
	}
}

func twice(body []byte) []byte { return bytes.ReplaceAll(body, []byte("a"), []byte("aa")) }

var changes = []change{
	{bytes.ToUpper, mapped(bytes.ToUpper)},
	{twice, mapped(twice)},
	{func(body []byte) []byte { return fmt.Appendf(nil, "<%s>", body) }, framed},
}

func TestAnyChainMakesOfAnyCutWhatItsPoliciesMakeOfTheWhole(t *testing.T) {
	property.Check(t, func(r *rapid.T) {
		pieces := rapid.SliceOfN(rapid.StringMatching("[a-c]{1,6}"), 1, 6)
		x := post(pieces.Draw(r, "request")...).answers(pieces.Draw(r, "response")...)
		if rapid.Bool().Draw(r, "in turn") {
			x.inTurn()
		}
		want := [2][]byte{[]byte(strings.Join(x.pieces, "")), []byte(strings.Join(x.responsePieces, ""))}
		var instances []*chain.Instance
		var backwards []func()
		for n := range rapid.IntRange(1, 5).Draw(r, "policies") {
			made := rapid.SampledFrom(changes).Draw(r, "change")
			name := fmt.Sprintf("p%d", n)
			letters := rapid.SampledFrom([]string{"hH", "bB", "sS", "sB", "bS", "hsHS", "s", "S"}).Draw(r, "modes")
			kind := rapid.SampledFrom([]string{"inline", "keeping", "guarded"}).Draw(r, "kind")
			parts := made.parts
			if rapid.Bool().Draw(r, "ahead") {
				parts = ahead(parts)
			}
			d := &does{name: name}
			if strings.Contains(letters, "b") {
				d.request = func(q *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
					return requestBody(string(made.whole(q.Body))), nil
				}
			}
			if strings.Contains(letters, "B") {
				d.response = func(q *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
					return responseBody(string(made.whole(q.Body))), nil
				}
			}
			if strings.ContainsAny(letters, "bs") {
				want[0] = made.whole(want[0])
			}
			if strings.ContainsAny(letters, "BS") {
				backwards = append(backwards, func() { want[1] = made.whole(want[1]) })
			}
			instances = append(instances, x.streamsAnd(kind, d, letters, parts))
		}
		for _, back := range slices.Backward(backwards) {
			back()
		}
		// The chain's own front end delivers bodies that policies read.
		c, err := chain.New(chain.Spec{ID: "c1", Instances: instances, Bodies: chain.NewBudget(1 << 20)})
		if err != nil {
			r.Fatal(err)
		}
		sink := &collects{transcript: x}
		if err := c.Run(context.Background(), sink, nil, nil); err != nil {
			r.Fatal(err)
		}
		for direction, wanted := range []bool{c.Mode().WantsRequestBody(), c.Mode().WantsResponseBody()} {
			if wanted && !bytes.Equal(sink.got[direction], want[direction]) {
				r.Errorf("%s: expected %s, got %s", chain.Direction(direction), want[direction], sink.got[direction])
			}
		}
	})
}

// collects keeps the sent pieces of each direction's body.
type collects struct {
	*transcript
	got [2][]byte
}

func (c *collects) SendHeaders(direction chain.Direction, changes chain.Changes) error {
	if changes.Body != nil {
		c.got[direction] = *changes.Body
	}
	return c.transcript.SendHeaders(direction, changes)
}

func (c *collects) SendPiece(ctx context.Context, direction chain.Direction, piece []byte) error {
	c.got[direction] = append(c.got[direction], piece...)
	return c.transcript.SendPiece(ctx, direction, piece)
}

func (c *collects) SendLast(ctx context.Context, direction chain.Direction, piece []byte, end chain.End) error {
	c.got[direction] = append(c.got[direction], piece...)
	return c.transcript.SendLast(ctx, direction, piece, end)
}
