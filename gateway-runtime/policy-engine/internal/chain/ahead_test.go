package chain_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// ahead is a flow whose chunks are read by a goroutine of its own, before the flow needs them, as the bridge to Python
// does.
func ahead(inner flow) flow {
	return func(ctx context.Context, t *transcript, name string, trailers *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			type got struct {
				chunk []byte
				err   error
			}
			waiting, left := make(chan got, 2), make(chan struct{})
			defer close(left)
			go func() {
				defer close(waiting)
				for chunk, err := range chunks {
					select {
					case waiting <- got{chunk, err}:
					case <-left:
						return
					}
				}
			}()
			inner(ctx, t, name, trailers, func(yield func([]byte, error) bool) {
				for {
					select {
					case next, ok := <-waiting:
						if !ok || !yield(next.chunk, next.err) {
							return
						}
					case <-ctx.Done():
						yield(nil, context.Cause(ctx))
						return
					}
				}
			})(yield)
		}
	}
}

// says yields a chunk without asking for one, and ends.
func says(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, _ v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) { yield([]byte("hello"), nil) }
}

// TestAskingAheadDelaysNothing: while a policy's goroutine waits for a chunk that comes later, or never, the policy's
// output is sent, headers first, and its end ends the body.
func TestAskingAheadDelaysNothing(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for point, c := range map[string]struct {
			made  []flow
			holds map[string]string
			sent  string
		}{
			"an event, and a pause":            {[]flow{wraps}, map[string]string{"response 1": "send part p0(a)"}, "p0(a) p0(b)"},
			"two policies, and a pause":        {[]flow{wraps, wraps}, map[string]string{"response 1": "send part p0(p1(a))"}, "p0(p1(a)) p0(p1(b))"},
			"headers first":                    {[]flow{lets}, map[string]string{"response 0": "send response body follows"}, "p0(a) p0(b)"},
			"headers of two first":             {[]flow{lets, lets}, map[string]string{"response 0": "send response body follows"}, "p0(p1(a)) p0(p1(b))"},
			"an end before the second chunk":   {[]flow{after(1, nil, nil)}, map[string]string{"response 2": "never"}, "a"},
			"an end without a chunk":           {[]flow{says}, map[string]string{"response 0": "never"}, "hello"},
			"an end behind one that waits":     {[]flow{says, lets}, map[string]string{"response 0": "never"}, "hello"},
			"an end behind a pause":            {[]flow{after(0, []byte("x"), nil), wraps}, map[string]string{"response 1": "never"}, "x"},
			"an end in front of one that asks": {[]flow{wraps, says}, map[string]string{"response 0": "never"}, "p0(hello)"},
		} {
			x := get().answers("a", "b").holding(c.holds)
			var instances []*chain.Instance
			for n, made := range c.made {
				instances = append(instances, x.streams(kind, string([]byte{'p', byte('0' + n)}), "S", ahead(made)))
			}
			err := x.run(t, instances...)
			var sent []string
			for _, line := range x.lines {
				if part, ok := strings.CutPrefix(line, "send part "); ok {
					sent = append(sent, part)
				}
			}
			if got := strings.Join(sent, " "); err != nil || got != c.sent || x.lines[len(x.lines)-1] != "send all of" && x.lines[len(x.lines)-2] != "send all of" {
				t.Errorf("%s: %v; expected %q, got %v", point, err, c.sent, x.lines)
			}
			for n := range c.made {
				if seen := x.observer.of(string([]byte{'p', byte('0' + n)}) + ":v1.0.0"); len(seen) != 1 || seen[0].Failure != nil {
					t.Errorf("%s: observed %+v", point, seen)
				}
			}
		}
	})
}

// TestAskingAheadAndFailing, or with a client that disconnects, delays nothing either, and a cut body never looks
// complete.
func TestAskingAheadAndFailing(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for _, holds := range []string{"response 1", "response 2"} {
			for name, made := range map[string][]flow{
				"the last":  {ahead(after(1, nil, errors.New("oh"))), ahead(wraps)},
				"the first": {ahead(wraps), ahead(after(1, nil, errors.New("oh")))},
			} {
				x := get().answers("a", "b")
				ctx, cancel := context.WithCancel(t.Context())
				x.waits = func(ctx context.Context, point string) error {
					if point != holds {
						return nil
					}
					if holds == "response 1" { // before the second chunk, with which it fails
						cancel()
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}
				err := x.runWith(ctx, t, x.streams(kind, "p0", "S", made[0]), x.streams(kind, "p1", "S", made[1]))
				last := x.lines[len(x.lines)-1]
				if answered := strings.HasPrefix(last, "answer 500"); answered == (err != nil) || holds == "response 1" && answered {
					t.Errorf("%s, %s: %v, %v", holds, name, err, x.lines)
				}
				if slices.Contains(x.lines, "send all of") {
					t.Errorf("%s, %s: %v", holds, name, x.lines)
				}
				cancel()
			}
		}
	})
}

// TestALateFailureIsTheAnswerToAResponseWithoutABody: the body is the answer's, not that of the replaced response.
func TestALateFailureIsTheAnswerToAResponseWithoutABody(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("a", "b").answers("cd").holding(map[string]string{"request 1": "one: response 204", "response 0": "never"})
		x.response.Status = 204
		err := x.run(t, x.marks("one", "H"), x.streams(kind, "two", "sS", after(1, nil, errors.New("oh"))))
		if last := x.lines[len(x.lines)-1]; err != nil || !strings.HasPrefix(last, "answer 500 policy_exception") || !strings.Contains(last, `"status":500`) {
			t.Errorf("%v, %v", err, x.lines)
		}
	})
}

// refusing is a proxy that answers as soon as the request is sent.
type refusing struct{ *transcript }

func (r refusing) SendHeaders(direction chain.Direction, changes chain.Changes) error {
	if direction == chain.Request {
		return chain.ErrResponded
	}
	return r.transcript.SendHeaders(direction, changes)
}

// TestTheProxyAnswersBetweenTheFirstChunkAndTheHeaders: its answer passes the policies, just as when a policy waits for
// the body.
func TestTheProxyAnswersBetweenTheFirstChunkAndTheHeaders(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("a", "b")
		x.response.Status = 408
		c, err := chain.New(chain.Spec{ID: "c1", Instances: []*chain.Instance{x.marks("one", "hH"), x.streams(kind, "two", "s", wraps)}, Observer: &x.observer})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context(), refusing{x}, nil, nil); err != nil {
			t.Error(err)
		}
		x.expect(t, `
			one: request
			two: request stream marked one
			read a
			two ends
			wait for the response
			one: response 408
			send response set=x-mark:one`)
	})
}
