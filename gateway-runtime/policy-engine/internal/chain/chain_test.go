package chain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func refusal() *v1alpha.ImmediateResponse {
	return &v1alpha.ImmediateResponse{StatusCode: 401, Body: []byte("no"), Headers: []v1alpha.Header{{Name: "X-Why", Value: "key"}}}
}

func TestOrder(t *testing.T) {
	x := get()
	if err := x.run(t, x.marks("one", "hH"), x.marks("two", "hH"), x.marks("three", "hH")); err != nil {
		t.Error(err)
	}
	x.expect(t, `
		one: request
		two: request marked one
		three: request marked one+two
		send request set=x-mark:one,x-mark:two,x-mark:three
		wait for the response
		three: response 200
		two: response 200 marked three
		one: response 200 marked three+two
		send response set=x-mark:three,x-mark:two,x-mark:one`)
}

func TestOnlyWantedPhasesRun(t *testing.T) {
	x := get()
	_ = x.run(t, x.marks("request", "h"), x.marks("none", ""))
	x.expect(t, `
		request: request
		send request set=x-mark:request`)

	x = get()
	_ = x.run(t, x.marks("response", "H"))
	x.expect(t, `
		send request
		wait for the response
		response: response 200
		send response set=x-mark:response`)
}

func TestPoliciesAfterOneThatWantsTheBodyWaitForIt(t *testing.T) {
	x := post("ab", "cd").answers("ef", "gh")
	_ = x.run(t, x.marks("one", "hH"), x.marks("two", "bhB"), x.marks("three", "hH"), x.marks("four", "bB"))
	x.expect(t, `
		one: request
		read ab
		read cd
		two: request marked one body abcd
		three: request marked one+two
		four: request marked one+two+three body abcd
		send request set=x-mark:one,x-mark:two,x-mark:three,x-mark:four,accept-encoding:identity body follows
		send all of abcd
		wait for the response
		read ef
		read gh
		four: response 200 body efgh
		three: response 200 marked four
		two: response 200 marked four+three body efgh
		one: response 200 marked four+three+two
		send response set=x-mark:four,x-mark:three,x-mark:two,x-mark:one body follows
		send all of efgh`)
}

func TestBodyThatIsReplaced(t *testing.T) {
	x := post("abc").answers("def")
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "content-length", Value: "3"})
	_ = x.run(t, x.onRequest("new", "b", requestBody("longer"), nil), x.marks("sees", "b"), x.onResponse("new2", "B", responseBody("x"), nil))
	x.expect(t, `
		read abc
		new: request body abc
		sees: request body longer
		send request set=x-mark:sees,content-length:6,accept-encoding:identity body follows
		send all of longer
		wait for the response
		read def
		new2: response 200 body def
		send response body follows
		send all of x`)
}

func TestBodyWithoutReadingIt(t *testing.T) {
	x := get()
	_ = x.run(t, x.onRequest("adds", "h", requestBody("new"), nil))
	x.expect(t, `
		adds: request
		send request set=content-length:3 body=new`)

	x = post("old", "body")
	_ = x.run(t, x.onRequest("adds", "h", requestBody("new"), nil), x.marks("sees", "b"))
	x.expect(t, `
		adds: request
		read old
		read body
		sees: request body new
		send request set=x-mark:sees body follows
		send all of new`)
}

func TestImmediateResponseUnwinds(t *testing.T) {
	x := post("abc")
	_ = x.run(t, x.marks("one", "hH"), x.marks("quiet", "h"), x.marks("late", "B"), x.onRequest("denies", "hH", refusal(), nil), x.marks("never", "bH"))
	x.expect(t, `
		one: request
		quiet: request marked one
		denies: request marked one+quiet
		late: response 401 body no
		one: response 401 marked late
		answer 401 policy_answer [x-why:key,x-mark:late,x-mark:one] no`)
}

func TestUnwindingMayChangeTheAnswer(t *testing.T) {
	x := get()
	change := responseBody("other")
	change.StatusCode, change.Headers = 403, sets("X-Why", "changed")
	_ = x.run(t, x.onResponse("replaces", "H", &v1alpha.ImmediateResponse{StatusCode: 410, Body: []byte("gone")}, nil),
		x.onResponse("changes", "H", change, nil), x.onRequest("denies", "h", refusal(), nil))
	x.expect(t, `
		denies: request
		changes: response 401
		replaces: response 403
		answer 410 policy_answer [] gone`)
}

func TestImmediateResponseInTheResponsePhase(t *testing.T) {
	x := get().answers("abc", "def")
	_ = x.run(t, x.marks("one", "B"), x.onResponse("replaces", "H", refusal(), nil), x.marks("three", "H"))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		three: response 200
		replaces: response 200 marked three
		one: response 401 body no
		answer 401 policy_answer [x-why:key,x-mark:one] no`)
}

func TestFailureUnwinds(t *testing.T) {
	x := get()
	_ = x.run(t, x.marks("one", "hH"), x.onRequest("fails", "hH", nil, errors.New("secret")), x.marks("never", "hH"))
	x.expect(t, `
		one: request
		fails: request marked one
		one: response 500
		answer 500 policy_exception [content-type:application/problem+json,x-mark:one] {"type":"about:blank","title":"Internal Server Error","status":500,"detail":"A policy of the gateway failed.","requestId":"id-1"}`)
}

func TestFailureInTheResponsePhaseReplacesTheResponse(t *testing.T) {
	x := get().answers("abc")
	overloaded := v1alpha.Failf(v1alpha.ClassOverloaded, "queue")
	_ = x.run(t, x.marks("one", "H"), x.onResponse("fails", "B", nil, overloaded), x.marks("three", "H"))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		three: response 200
		read abc
		fails: response 200 marked three body abc
		one: response 503
		answer 503 policy_overloaded [content-type:application/problem+json,retry-after:1,x-mark:one] {"type":"about:blank","title":"Service Unavailable","status":503,"detail":"A policy of the gateway is not available.","requestId":"id-1"}`)
}

func TestFailureThatIsContinued(t *testing.T) {
	x := get()
	bad := &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{
		Set: []v1alpha.Header{{Name: "X-Good", Value: "1"}, {Name: "X-Bad", Value: "a\r\nb"}},
	}}
	instance := x.onRequest("bad", "h", bad, nil, goesOn)
	_ = x.run(t, instance, x.marks("two", "h"))
	x.expect(t, `
		bad: request
		two: request
		send request set=x-mark:two`)
	seen := x.observer.of("bad:v1.0.0")
	if len(seen) != 1 || !seen[0].Continued || seen[0].Failure.Class != v1alpha.ClassBadAction || instance.Active() != 0 {
		t.Errorf("observed: %+v", seen)
	}
}

func TestReactionByClass(t *testing.T) {
	reaction := chain.OnError{Default: chain.Continue, ByClass: map[v1alpha.FailureClass]chain.Reaction{v1alpha.ClassTimeout: chain.Fail}}
	for class, status := range map[v1alpha.FailureClass]string{v1alpha.ClassTimeout: "answer 504", v1alpha.ClassCrashed: "send request"} {
		x := get()
		_ = x.run(t, x.onRequest("fails", "h", nil, v1alpha.Failf(class, "…"), func(s *chain.Settings) { s.OnError = reaction }))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, status) {
			t.Errorf("%s: expected %s, got %s", class, status, last)
		}
	}
}

func TestFailuresToGRPCClients(t *testing.T) {
	for class, want := range map[v1alpha.FailureClass]string{
		v1alpha.ClassTimeout:     "answer 504 policy_timeout grpc-status=4 [] A policy of the gateway did not answer in time.",
		v1alpha.ClassUnavailable: "answer 503 policy_unavailable grpc-status=14 [] A policy of the gateway is not available.",
		v1alpha.ClassException:   "answer 500 policy_exception grpc-status=13 [] A policy of the gateway failed.",
	} {
		x := get()
		x.request.Headers = v1alpha.Headers{{Name: "content-type", Value: "application/grpc+proto"}}
		_ = x.run(t, x.onRequest("fails", "h", nil, v1alpha.Failf(class, "…")))
		x.expect(t, "fails: request\n"+want)
	}
}

func TestBodyTooLarge(t *testing.T) {
	x := post("abcd", "efgh", "never read")
	_ = x.run(t, x.marks("one", "hH"), x.marks("sees", "b", limit(6)))
	x.expect(t, `
		one: request
		read abcd
		read efgh
		one: response 413
		answer 413 policy_bodyTooLarge [content-type:application/problem+json,x-mark:one] {"type":"about:blank","title":"Request Entity Too Large","status":413,"detail":"The request body is too large.","requestId":"id-1"}`)

	x = get().answers("abcd", "efgh", "never read")
	_ = x.run(t, x.marks("sees", "B", limit(6)))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		read abcd
		read efgh
		answer 502 policy_bodyTooLarge [content-type:application/problem+json] {"type":"about:blank","title":"Bad Gateway","status":502,"detail":"The response body is too large for the gateway.","requestId":"id-1"}`)
}

func TestBodyThatDeclaresToBeTooLargeIsNotRead(t *testing.T) {
	x := post("never read")
	x.request.Headers = v1alpha.Headers{{Name: "content-length", Value: "7"}}
	_ = x.run(t, x.marks("sees", "b", limit(6), goesOn))
	x.expect(t, `
		send request body follows
		send the rest`)
}

func TestBodyTooLargeForSomeThatGoOn(t *testing.T) {
	x := post("abcd", "efgh", "not read")
	_ = x.run(t, x.marks("small", "b", limit(2), goesOn), x.marks("middle", "b", limit(6), goesOn), x.marks("late", "h"))
	x.expect(t, `
		read abcd
		read efgh
		late: request
		send request set=x-mark:late body follows
		send part abcd
		send part efgh
		send the rest`)

	x = post("abcd", "efgh")
	_ = x.run(t, x.marks("small", "b", limit(2), goesOn), x.marks("large", "b", limit(8)))
	x.expect(t, `
		read abcd
		read efgh
		large: request body abcdefgh
		send request set=x-mark:large body follows
		send all of abcdefgh`)
}

func TestProxyAnswersWhileTheBodyIsAwaited(t *testing.T) {
	x := post("abc", "never").answers("timed out")
	x.respondsAfter, x.response.Status = 1, 408
	_ = x.run(t, x.marks("one", "hH"), x.marks("two", "bB"), x.marks("three", "hH"))
	x.expect(t, `
		one: request
		read abc
		wait for the response
		one: response 408
		send response set=x-mark:one body follows
		send the rest`)
}

func TestRequestParts(t *testing.T) {
	x := get()
	path, query, method, authority := "/orders/8", "b=2", "PUT", "other.example:80"
	_ = x.run(t, x.onRequest("moves", "h", &v1alpha.UpstreamRequestModifications{Path: &path, Query: &query, Method: &method, Authority: &authority}, nil),
		x.policy(&does{name: "sees", request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			x.say("%s %s ? %s of %s, %s %s, %s, %s by %s", r.Method, r.Path, r.Query, r.Authority, r.APIName, r.APIVersion, r.Operation, r.RequestID, r.ClientAddress)
			return nil, nil
		}}, "h"))
	x.expect(t, `
		moves: request
		sees: request
		PUT /orders/8 ? b=2 of other.example:80, orders v1, GET /{id}, id-1 by 192.0.2.1:5
		send request method=PUT path=/orders/8?b=2 authority=other.example:80`)
}

func TestTheLastPolicyThatNamesAnUpstreamChoosesIt(t *testing.T) {
	x := get()
	x.request.Peer = &v1alpha.Peer{Subject: "CN=alice"}
	chooses := func(name, upstream string) *chain.Instance {
		return x.policy(&does{name: name, request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			x.say("%s: %q of %s", name, r.Upstream, r.Peer.Subject)
			if upstream == "" {
				return &v1alpha.UpstreamRequestModifications{}, nil
			}
			return &v1alpha.UpstreamRequestModifications{Upstream: &upstream}, nil
		}, response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			x.say("%s: came of %q for %s", name, r.Request.Upstream, r.Request.Peer.Subject)
			return nil, nil
		}}, "hH")
	}
	_ = x.run(t, chooses("one", "main"), chooses("two", "canary"), chooses("three", ""))
	x.expect(t, `
		one: request
		one: "" of CN=alice
		two: request
		two: "main" of CN=alice
		three: request
		three: "canary" of CN=alice
		send request upstream=canary
		wait for the response
		three: response 200
		three: came of "canary" for CN=alice
		two: response 200
		two: came of "canary" for CN=alice
		one: response 200
		one: came of "canary" for CN=alice
		send response`)
}

func TestAnUpstreamThatTheAPIDoesNotHaveIsABadAction(t *testing.T) {
	x, other := get(), "other"
	_ = x.run(t, x.onRequest("chooses", "h", &v1alpha.UpstreamRequestModifications{Upstream: &other}, nil))
	x.expect(t, `
		chooses: request
		answer 500 policy_badAction [content-type:application/problem+json] {"type":"about:blank","title":"Internal Server Error","status":500,"detail":"A policy of the gateway failed.","requestId":"id-1"}`)
	seen := x.observer.of("chooses:v1.0.0")
	if len(seen) != 1 || seen[0].Failure == nil || seen[0].Failure.Message != `request modifications: upstream: expected one of the API's (canary, main), got "other"` {
		t.Errorf("expected a failure that names the upstreams, got %+v", seen)
	}
}

func TestEmptyQueryTakesTheQuestionMarkAway(t *testing.T) {
	x, none := get(), ""
	_ = x.run(t, x.onRequest("moves", "h", &v1alpha.UpstreamRequestModifications{Query: &none}, nil))
	x.expect(t, `
		moves: request
		send request path=/orders/7`)
}

func TestResponsesThatHaveNoBody(t *testing.T) {
	x := get()
	x.request.Method, x.response.Headers = "HEAD", v1alpha.Headers{{Name: "content-length", Value: "8"}}
	_ = x.run(t, x.onResponse("new", "B", responseBody("abc"), nil))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		new: response 200
		send response set=content-length:3`)

	x = get()
	x.response.Status = 204
	_ = x.run(t, x.onResponse("new", "B", responseBody("abc"), nil))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		new: response 204
		send response`)

	x = get().answers("abc")
	x.response.Headers = v1alpha.Headers{{Name: "content-length", Value: "3"}}
	_ = x.run(t, x.onResponse("empties", "H", &v1alpha.UpstreamResponseModifications{StatusCode: 204}, nil))
	x.expect(t, `
		send request
		wait for the response
		empties: response 200
		send response status=204 remove=content-length body=`)
}

func TestAnswersThatHaveNoBody(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		body   string
	}{{"GET", 204, ""}, {"GET", 304, ""}, {"HEAD", 204, ""}, {"HEAD", 304, ""}, {"HEAD", 200, "abc"}, {"GET", 200, "abc"}} {
		x := get()
		x.request.Method = c.method
		_ = x.run(t, x.onRequest("answers", "h", &v1alpha.ImmediateResponse{StatusCode: c.status, Body: []byte("abc")}, nil))
		x.expect(t, fmt.Sprintf("answers: request\nanswer %d policy_answer [] %s", c.status, c.body))
	}
}

func TestMetadataAreSharedByTheExchange(t *testing.T) {
	x := get()
	_ = x.run(t, x.policy(&does{name: "reads", response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
		user, _ := r.Metadata.Get("user")
		x.say("%v, %s %s", user, r.Request.Method, r.Request.Path)
		return nil, nil
	}}, "H"), x.policy(&does{name: "writes", request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return nil, r.Metadata.Set("user", 7)
	}}, "h"))
	x.expect(t, `
		writes: request
		send request
		wait for the response
		reads: response 200
		7, GET /orders/7
		send response`)
}

func TestNothingRunsAfterAnExchangeIsCancelled(t *testing.T) {
	x := get()
	ctx, cancel := context.WithCancel(t.Context())
	err := x.runWith(ctx, t, x.policy(&does{name: "one", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		cancel()
		return refusal(), nil
	}}, "hH"), x.marks("two", "hH"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("expected context.Canceled, got %v", err)
	}
	x.expect(t, "one: request")
}

func TestFrontEndThatFailsEndsTheExchange(t *testing.T) {
	x := get()
	x.broken = true
	if err := x.run(t, x.marks("one", "hH")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("expected io.ErrClosedPipe, got %v", err)
	}
	x.expect(t, `
		one: request
		send request set=x-mark:one`)
}

func TestNewRefuses(t *testing.T) {
	x := get()
	odd := x.policy(&does{name: "odd"}, "", func(s *chain.Settings) { s.Mode.RequestBodyMode = "FULL" })
	stream := x.policy(&does{name: "streams"}, "", func(s *chain.Settings) { s.Mode.ResponseBodyMode = v1alpha.BodyStream })
	for want, spec := range map[string]chain.Spec{
		"expected an id":                        {Instances: []*chain.Instance{x.marks("one", "h")}},
		"expected at least one policy instance": {ID: "c1"},
		"policy streams:v1.0.0: responseBodyMode STREAM: expected a policy that has OnResponseStream": {ID: "c1", Instances: []*chain.Instance{stream}},
		"policy odd:v1.0.0: body mode: expected SKIP, BUFFER or STREAM, got FULL":                     {ID: "c1", Instances: []*chain.Instance{odd}},
	} {
		if _, err := chain.New(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}

func TestModeIsTheUnion(t *testing.T) {
	x := get()
	c, err := chain.New(chain.Spec{ID: "c1", Instances: []*chain.Instance{x.marks("one", "h"), x.marks("two", "B")}})
	want := v1alpha.ProcessingModeConfig{
		RequestHeaderMode: v1alpha.HeaderProcess, RequestBodyMode: v1alpha.BodySkip,
		ResponseHeaderMode: v1alpha.HeaderSkip, ResponseBodyMode: v1alpha.BodyBuffer,
	}
	if err != nil || c.Mode() != want {
		t.Errorf("mode %+v, %v", c.Mode(), err)
	}
}

type lease struct{ transcript *transcript }

func (l lease) Release() { l.transcript.say("release") }

// leases is a policy that takes a lease in each phase.
type leases struct{ transcript *transcript }

func (l leases) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	req.Metadata.Lease("key", l.take)
	return nil, nil
}

func (l leases) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	res.Metadata.Lease("key", l.take)
	return nil, nil
}

func (leases) Close() error { return nil }

func (l leases) take() v1alpha.Lease {
	l.transcript.say("lease")
	return lease(l)
}

func TestALeaseLastsFromRequestToResponse(t *testing.T) {
	x := get()
	mode := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess, ResponseHeaderMode: v1alpha.HeaderProcess}
	if err := x.run(t, chain.NewInstance("i", "leases:v1.0.0", leases{x}, chain.Settings{Mode: mode})); err != nil {
		t.Error(err)
	}
	x.expect(t, `
		lease
		send request
		wait for the response
		send response
		release`)
}
