package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestAStreamPassesTheMessageOnWithItsFirstChunk(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab", "cd").answers("ef", "gh").inTurn()
		x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "content-length", Value: "4"})
		if err := x.run(t, x.marks("one", "hH"), x.streams(kind, "two", "sS", wraps), x.marks("three", "hH")); err != nil {
			t.Error(err)
		}
		x.expect(t, `
			one: request
			two: request stream marked one
			read ab
			three: request marked one
			send request remove=content-length set=x-mark:one,x-mark:three,accept-encoding:identity body follows
			send part two(ab)
			read cd
			send part two(cd)
			two ends
			send all of
			wait for the response
			three: response 200
			two: response stream 200 marked three
			read ef
			one: response 200 marked three
			send response set=x-mark:three,x-mark:one body follows
			send part two(ef)
			read gh
			send part two(gh)
			two ends
			send all of`)
		for _, execution := range x.observer.of("two:v1.0.0") {
			if execution.Failure != nil || execution.Cancelled || execution.Duration <= 0 || execution.Phase != "request_stream" && execution.Phase != "response_stream" {
				t.Errorf("observed %+v", execution)
			}
		}
	})
}

func TestAnEmptyChunkLetsTheHeadersGo(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab")
		_ = x.run(t, x.marks("one", "H"), x.streams(kind, "two", "S", lets))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			two: response stream 200
			one: response 200
			send response set=x-mark:one body follows
			read ab
			send part two(ab)
			two ends
			send all of`)
	})
}

func TestTheHookRunsFirst(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab").answers("cd").inTurn()
		_ = x.run(t, x.streamsAnd(kind, &does{name: "one", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: sets("X-Mark", "1")}, nil
		}}, "hsHS", wraps))
		x.expect(t, `
			one: request
			one: request stream marked 1
			read ab
			send request set=x-mark:1,accept-encoding:identity body follows
			send part one(ab)
			one ends
			send all of
			wait for the response
			one: response 200
			one: response stream 200
			read cd
			send response body follows
			send part one(cd)
			one ends
			send all of`)

		x = post("ab")
		_ = x.run(t, x.streamsAnd(kind, &does{name: "one", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return refusal(), nil
		}}, "hs", wraps))
		x.expect(t, `
			one: request
			answer 401 policy_answer [x-why:key] no`)

		x = post("ab")
		_ = x.run(t, x.streamsAnd(kind, &does{name: "one", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return requestBody("no"), nil
		}}, "hs", wraps))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 500 policy_badAction") {
			t.Errorf("a body in the action: got %s", last)
		}
		x = get().answers("ab")
		_ = x.run(t, x.streamsAnd(kind, &does{name: "one", response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return responseBody("no"), nil
		}}, "HS", wraps))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 500 policy_badAction") {
			t.Errorf("a body in the action: got %s", last)
		}
	})
}

func TestBufferingPoliciesAndStreamsInAnyOrder(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab", "cd").answers("ef", "gh").inTurn()
		_ = x.run(t, x.streams(kind, "one", "sS", wraps), x.marks("two", "bB"), x.streams(kind, "three", "sS", wraps))
		x.expect(t, `
			one: request stream
			read ab
			read cd
			one ends
			two: request body one(ab)one(cd)
			three: request stream marked two
			send request set=x-mark:two,accept-encoding:identity body follows
			send part three(one(ab)one(cd))
			three ends
			send all of
			wait for the response
			three: response stream 200
			read ef
			read gh
			three ends
			two: response 200 body three(ef)three(gh)
			one: response stream 200 marked two
			send response set=x-mark:two body follows
			send part one(three(ef)three(gh))
			one ends
			send all of`)
	})
}

func TestARejectBeforeTheFirstChunkIsAnAnswer(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab", "cd")
		_ = x.run(t, x.marks("one", "hH"), x.streams(kind, "two", "sS", after(0, nil, &v1alpha.Reject{Response: refusal()})), x.marks("three", "hH"))
		x.expect(t, `
			one: request
			two: request stream marked one
			read ab
			two ends
			one: response 401
			answer 401 policy_answer [x-why:key,x-mark:one] no`)
		if seen := x.observer.of("two:v1.0.0"); len(seen) != 1 || seen[0].Failure != nil || seen[0].Cancelled {
			t.Errorf("observed %+v", seen)
		}
	})
}

func TestAFailureOfAnEarlierStreamBelongsToItsPolicy(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab", "cd", "ef")
		_ = x.run(t, x.marks("zero", "hH"), x.streams(kind, "one", "sH", after(1, nil, errors.New("oh"))), x.marks("two", "hH"), x.marks("three", "bH"))
		x.expect(t, `
			zero: request
			one: request stream marked zero
			read ab
			two: request marked zero
			read cd
			one ends
			two: response 500
			zero: response 500 marked two
			answer 500 policy_exception [content-type:application/problem+json,x-mark:two,x-mark:zero] {"type":"about:blank","title":"Internal Server Error","status":500,"detail":"A policy of the gateway failed.","requestId":"id-1"}`)
		if seen := x.observer.of("one:v1.0.0"); len(seen) != 1 || seen[0].Failure == nil || seen[0].Failure.Class != v1alpha.ClassException {
			t.Errorf("observed %+v", seen)
		}
	})
}

func TestNoPolicyCanSuppressAFailure(t *testing.T) {
	swallows := func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			for chunk, err := range chunks {
				if err != nil {
					yield([]byte("all is well"), nil)
					return
				}
				yield(chunk, nil)
			}
		}
	}
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab", "cd", "ef")
		err := x.run(t, x.streams(kind, "swallows", "S", swallows), x.streams(kind, "fails", "S", after(1, nil, errors.New("oh"))))
		if err == nil || !strings.Contains(err.Error(), "oh") {
			t.Errorf("got %v", err)
		}
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			fails: response stream 200
			read ab
			swallows: response stream 200
			send response body follows
			send part ab
			read cd
			fails ends`)
		if seen := x.observer.of("swallows:v1.0.0"); len(seen) != 1 || !seen[0].Cancelled || seen[0].Failure != nil {
			t.Errorf("observed %+v", seen)
		}
	})
}

func TestAFailureBeforeTheResponseLeavesIsItsAnswer(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab", "cd", "ef")
		_ = x.run(t, x.marks("zero", "H"), x.marks("one", "BH"), x.marks("two", "H"), x.streams(kind, "three", "S", after(1, nil, errors.New("oh"))))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			three: response stream 200
			read ab
			two: response 200
			read cd
			three ends
			one: response 500 body {"type":"about:blank","title":"Internal Server Error","status":500,"detail":"A policy of the gateway failed.","requestId":"id-1"}
			zero: response 500 marked one
			answer 500 policy_exception [content-type:application/problem+json,x-mark:one,x-mark:zero] {"type":"about:blank","title":"Internal Server Error","status":500,"detail":"A policy of the gateway failed.","requestId":"id-1"}`)
	})
}

func TestNoHookRunsTwice(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab", "cd", "ef")
		holds := func(ctx context.Context, t *transcript, name string, tr *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
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
		_ = x.run(t, x.marks("zero", "H"), x.streams(kind, "one", "HS", holds), x.streams(kind, "two", "S", after(1, nil, &v1alpha.Reject{Response: refusal()})))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			two: response stream 200
			read ab
			one: response 200
			one: response stream 200
			read cd
			two ends
			zero: response 401
			answer 401 policy_answer [x-why:key,x-mark:zero] no`)
	})
}

func TestAnAnswerPassesStreamsInMemory(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get()
		_ = x.run(t, x.streams(kind, "one", "S", wraps), x.onRequest("denies", "h", refusal(), nil))
		x.expect(t, `
			denies: request
			one: response stream 401
			one ends
			answer 401 policy_answer [x-why:key] one(no)`)

		x = get()
		_ = x.run(t, x.streams(kind, "one", "S", wraps, limit(4)), x.onRequest("denies", "h", refusal(), nil))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 502 policy_bodyTooLarge") {
			t.Errorf("got %s", last)
		}
	})
}

func TestAMessageWithoutABodyIsAnEmptyStream(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get()
		_ = x.run(t, x.streams(kind, "one", "sS", after(0, []byte("new"), nil)), x.streams(kind, "two", "sS", wraps))
		x.expect(t, `
			one: request stream
			one ends
			two: request stream
			two ends
			send request set=content-length:8,accept-encoding:identity body=two(new)
			wait for the response
			two: response stream 200
			two ends
			one: response stream 200
			one ends
			send response set=content-length:3 body=new`)

		x = get()
		_ = x.run(t, x.streams(kind, "one", "sS", wraps))
		x.expect(t, `
			one: request stream
			one ends
			send request set=accept-encoding:identity
			wait for the response
			one: response stream 200
			one ends
			send response`)
	})
}

func TestResponsesThatHaveNoBodyAreNotStreamed(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		for _, c := range []struct {
			method string
			status int
		}{{"HEAD", 200}, {"GET", 204}, {"GET", 304}} {
			x := get()
			x.request.Method, x.response.Status = c.method, c.status
			x.response.Headers = v1alpha.Headers{{Name: "content-length", Value: "8"}}
			_ = x.run(t, x.streams(kind, "one", "S", wraps))
			x.expect(t, "send request set=accept-encoding:identity\nwait for the response\nsend response")
		}
		x := get().answers("ab")
		_ = x.run(t, x.onResponse("empties", "H", &v1alpha.UpstreamResponseModifications{StatusCode: 204}, nil), x.streams(kind, "one", "S", wraps))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			one: response stream 200
			read ab
			empties: response 200
			one ends
			send response status=204 body follows
			send all of`)
	})
}

func TestTrailers(t *testing.T) {
	changes := func(_ context.Context, t *transcript, name string, trailers *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			for chunk, err := range chunks {
				yield(chunk, err)
			}
			t.say("%s: trailers %s", name, list(trailers.Headers))
			trailers.Remove, trailers.Set = []string{"x-a"}, []v1alpha.Header{{Name: "X-" + name, Value: "1"}}
		}
	}
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab")
		x.trailers[chain.Response] = v1alpha.Headers{{Name: "x-a", Value: "1"}, {Name: "x-b", Value: "2"}}
		_ = x.run(t, x.streams(kind, "one", "S", changes), x.streams(kind, "two", "S", changes))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			two: response stream 200
			read ab
			one: response stream 200
			send response body follows
			send part ab
			two: trailers x-a:1,x-b:2
			one: trailers x-b:2,x-two:1
			send all of trailers remove=x-a trailers set=x-two:1,x-one:1`)

		x = get().answers("ab") // which has none, and gets none
		_ = x.run(t, x.streams(kind, "one", "S", changes))
		if last := x.lines[len(x.lines)-1]; last != "send all of" {
			t.Errorf("got %s", last)
		}

		x = get().answers("ab")
		bad := func(_ context.Context, _ *transcript, _ string, trailers *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
			return func(yield func([]byte, error) bool) {
				trailers.Set = []v1alpha.Header{{Name: "x-a", Value: "b\r\n"}}
			}
		}
		_ = x.run(t, x.streams(kind, "one", "S", bad))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 500 policy_badAction") {
			t.Errorf("got %s", last)
		}
	})
}

func TestAStreamThatWasNeverStartedMayBeSkipped(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		unavailable := func(context.Context, *transcript, string, *v1alpha.Trailers, v1alpha.Chunks) v1alpha.Chunks {
			return func(yield func([]byte, error) bool) { yield(nil, v1alpha.Failf(v1alpha.ClassUnavailable, "away")) }
		}
		x := get().answers("ab", "cd")
		_ = x.run(t, x.streams(kind, "one", "S", wraps), x.streams(kind, "away", "S", unavailable, goesOn), x.streams(kind, "three", "S", wraps))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			three: response stream 200
			read ab
			away: response stream 200
			one: response stream 200
			send response body follows
			send part one(three(ab))
			read cd
			send part one(three(cd))
			three ends
			one ends
			send all of`)
		if seen := x.observer.of("away:v1.0.0"); len(seen) != 1 || !seen[0].Continued {
			t.Errorf("observed %+v", seen)
		}

		x = get().answers("ab", "cd") // a policy that has read a chunk fails all the same
		_ = x.run(t, x.streams(kind, "one", "S", after(0, nil, v1alpha.Failf(v1alpha.ClassUnavailable, "away")), goesOn))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 503 policy_unavailable") {
			t.Errorf("got %s", last)
		}

		x = get().answers("ab")
		x.response.Headers = v1alpha.Headers{{Name: "content-encoding", Value: "gzip"}}
		_ = x.run(t, x.streams(kind, "one", "S", wraps, refusesEncoded, goesOn))
		if last := x.lines[len(x.lines)-1]; last != "send the rest" {
			t.Errorf("got %s", last)
		}
		if seen := x.observer.of("one:v1.0.0"); len(seen) != 1 || seen[0].Failure.Class != v1alpha.ClassBadBody {
			t.Errorf("observed %+v", seen)
		}
	})
}

func TestAStreamThatEndsEarlyDropsTheRest(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab", "cd", "never read")
		_ = x.run(t, x.streams(kind, "one", "S", after(1, []byte("!"), nil)), x.streams(kind, "two", "S", wraps))
		x.expect(t, `
			send request set=accept-encoding:identity
			wait for the response
			two: response stream 200
			read ab
			one: response stream 200
			send response body follows
			send part two(ab)
			read cd
			send part !
			one ends
			two ends
			send all of`)
	})
}

func TestInvalidStreamsFail(t *testing.T) {
	for want, flow := range map[string]flow{
		"panic: oh, in ": func(context.Context, *transcript, string, *v1alpha.Trailers, v1alpha.Chunks) v1alpha.Chunks {
			return func(func([]byte, error) bool) { panic("oh") }
		},
		"panic: at once, in ": func(context.Context, *transcript, string, *v1alpha.Trailers, v1alpha.Chunks) v1alpha.Chunks {
			panic("at once")
		},
		"expected an iterator, got nil": func(context.Context, *transcript, string, *v1alpha.Trailers, v1alpha.Chunks) v1alpha.Chunks {
			return nil
		},
		"EOF":                                   after(0, nil, fmt.Errorf("EOF")),
		"reject: expected a response, got none": after(0, nil, &v1alpha.Reject{}),
		"reject: status: expected 200–599, got 0": after(0, nil, &v1alpha.Reject{Response: &v1alpha.ImmediateResponse{}}),
	} {
		everyKind(t, func(t *testing.T, kind string) {
			x := get().answers("ab")
			_ = x.run(t, x.streams(kind, "one", "S", flow))
			if seen := x.observer.of("one:v1.0.0"); len(seen) != 1 || !strings.Contains(seen[0].Failure.Message, want) {
				t.Errorf("expected %q, observed %+v", want, seen)
			}
		})
	}
}

func TestAStreamTakesOneSlot(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab")
		var instance *chain.Instance
		instance = x.streams(kind, "one", "S", func(ctx context.Context, t *transcript, name string, tr *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
			t.say("%d under way", instance.Active())
			return wraps(ctx, t, name, tr, chunks)
		}, func(s *chain.Settings) { s.MaxConcurrency = 1 })
		_ = x.run(t, instance, x.streams(kind, "two", "S", wraps))
		await.Until(t, "no execution under way", func() bool { return instance.Active() == 0 })
		if !strings.Contains(strings.Join(x.lines, "\n"), "1 under way") {
			t.Errorf("expected one under way, got %v", x.lines)
		}
	})
}

func TestPiecesOfAnyCutGiveTheSameWhole(t *testing.T) {
	upper := func(_ context.Context, _ *transcript, _ string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			for chunk, err := range chunks {
				if !yield(bytes.ToUpper(chunk), err) || err != nil {
					return
				}
			}
		}
	}
	everyKind(t, func(t *testing.T, kind string) {
		x := post("a", "b", "c").answers("d").inTurn()
		_ = x.run(t, x.streams(kind, "one", "sS", upper), x.streams(kind, "two", "sS", upper))
		if got := x.bodyOf("request"); got != "ABC" {
			t.Errorf("got %s", got)
		}
	})
}

// bodyOf joins the sent pieces of a direction's body.
func (t *transcript) bodyOf(direction string) string {
	var body strings.Builder
	mine := false
	for _, line := range t.lines {
		if strings.HasPrefix(line, "send request") || strings.HasPrefix(line, "send response") {
			mine = strings.HasPrefix(line, "send "+direction)
			if _, whole, ok := strings.Cut(line, " body="); ok && mine {
				body.WriteString(whole)
			}
			continue
		}
		for _, prefix := range []string{"send part ", "send all of"} {
			if part, ok := strings.CutPrefix(line, prefix); ok && mine {
				body.WriteString(part)
			}
		}
	}
	return body.String()
}

// TestARejectThatComesTooLateNamesItsPolicy and its line, since the client only sees a reset.
func TestARejectThatComesTooLateNamesItsPolicy(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab", "cd")
		late := &v1alpha.Reject{Response: refusal(), File: "policies/two/policy.py", Line: 39}
		err := x.run(t, x.streams(kind, "two", "S", after(1, nil, late)))
		if want := "two:v1.0.0 rejected the message with 401 (policies/two/policy.py:39) after the response had begun"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	})
}

// TestAFailureThatComesTooLateNamesItsPolicy too.
func TestAFailureThatComesTooLateNamesItsPolicy(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := get().answers("ab", "cd")
		err := x.run(t, x.streams(kind, "two", "S", after(1, nil, errors.New("oh"))))
		if want := "the stream of two:v1.0.0 failed after the response had begun"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	})
}
