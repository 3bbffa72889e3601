package pythonbridge

import (
	"context"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

func sentFor(t *testing.T, c *conversation) *executorv1.Execution {
	t.Helper()
	frame := c.nextFrame()
	if len(frame.GetExecutions()) != 1 {
		t.Fatalf("expected one execution, got %v", frame)
	}
	return frame.GetExecutions()[0]
}

func wantBytes(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if string(got) != want {
		t.Errorf("%s: expected %q, got %q", what, want, got)
	}
}

func wantRequest(t *testing.T, got *executorv1.Execution) {
	t.Helper()
	wantBytes(t, "request id", got.GetRequestId(), "r-1")
	wantBytes(t, "method", got.GetMethod(), "GET")
	wantBytes(t, "path", got.GetPath(), "/orders/v1.0/7")
	wantBytes(t, "query", got.GetQuery(), "q=1")
	wantBytes(t, "scheme", got.GetScheme(), "https")
	wantBytes(t, "authority", got.GetAuthority(), "api.example")
	wantBytes(t, "client address", got.GetClientAddress(), "10.0.0.1:5000")
	wantBytes(t, "operation", got.GetOperation(), "GET /{id}")
	wantBytes(t, "upstream", got.GetUpstream(), "canary")
	wantBytes(t, "peer", got.GetPeer(), `{"subject":"CN=a","issuer":"","dnsNames":["a.example"],"uris":null,"emailAddresses":null,"ipAddresses":null,"fingerprint":"00ff"}`)
	if !got.GetHasBody() {
		t.Error("expected that the request has a body")
	}
	wantBytes(t, "headers", got.GetRequestHeaders(), "accept\x00*/*\x00x-bin\x00\xff\xfe\x00accept\x00\x00")
}

func TestRequestTravels(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	req := request()
	req.Body = []byte{}
	must(req.Metadata.Set("big", uint64(1)<<63))
	must(req.Metadata.Set("old", []int{1}))
	done := call(t.Context(), policy, req) // a context without deadline gets one
	got := sentFor(t, c)
	wantRequest(t, got)
	wantBytes(t, "metadata", got.GetMetadata(), `{"big":9223372036854775808,"old":[1]}`)
	if got.RequestBody == nil || len(got.RequestBody) != 0 || got.ResponseBody != nil || got.GetPhase() != executorv1.Phase_PHASE_REQUEST || got.GetTimeoutUs() == 0 {
		t.Errorf("expected an empty body that is there, no response, the request phase and a timeout, got %v", got)
	}
	c.answer(&executorv1.Action{
		Id: got.GetId(), RemoveHeaders: []byte("x-bin\x00x-b\x00"), SetHeaders: []byte("x-a\x001\x00x-a\x00\xff\x00"),
		AppendHeaders: []byte("via\x00gw\x00"), Body: []byte("new"), Path: []byte("/orders/v1.0/8"), Query: []byte(""), Method: []byte("PUT"),
		Authority: []byte("b.example"), Upstream: []byte("main"), AnalyticsMetadata: []byte(`{"tier":"gold"}`), MetadataSet: []byte(`{"n":2}`), MetadataRemoved: []string{"old"},
	})
	result := await.Receive(t, done, "the action")
	body, path, query, method, authority, upstream := []byte("new"), "/orders/v1.0/8", "", "PUT", "b.example", "main"
	want := &v1alpha.UpstreamRequestModifications{
		Headers: v1alpha.HeaderModifications{
			Remove: []string{"x-bin", "x-b"}, Set: []v1alpha.Header{{Name: "x-a", Value: "1"}, {Name: "x-a", Value: "\xff"}},
			Append: []v1alpha.Header{{Name: "via", Value: "gw"}},
		},
		Body: &body, Path: &path, Query: &query, Method: &method, Authority: &authority, Upstream: &upstream, AnalyticsMetadata: map[string]any{"tier": "gold"},
	}
	if result.err != nil || !reflect.DeepEqual(result.action, want) {
		t.Fatalf("expected %+v, got %+v, %v", want, result.action, result.err)
	}
	if text, _ := req.Metadata.JSON(); string(text) != `{"big":9223372036854775808,"n":2}` {
		t.Errorf("expected the metadata to be merged, got %s", text)
	}
}

func TestResponseTravelsWithTheRequestAgain(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	res := &v1alpha.ResponseContext{
		Request: request(), StatusCode: 201, Headers: v1alpha.Headers{{Name: "set-cookie", Value: "a"}, {Name: "set-cookie", Value: "b"}},
		Body: []byte("hi"), Metadata: &v1alpha.ExchangeMetadata{},
	}
	type answered struct {
		action v1alpha.ResponseAction
		err    error
	}
	done := make(chan answered, 1)
	go func() {
		action, err := policy.OnResponse(context.Background(), res)
		done <- answered{action, err}
	}()
	got := sentFor(t, c)
	wantRequest(t, got)
	wantBytes(t, "response headers", got.GetResponseHeaders(), "set-cookie\x00a\x00set-cookie\x00b\x00")
	wantBytes(t, "response body", got.GetResponseBody(), "hi")
	wantBytes(t, "metadata", got.GetMetadata(), "")
	if got.GetStatus() != 201 || got.GetPhase() != executorv1.Phase_PHASE_RESPONSE || got.RequestBody != nil {
		t.Errorf("expected status 201, the response phase and no request body, got %v", got)
	}
	c.answer(&executorv1.Action{Id: got.GetId(), StatusCode: 418, SetHeaders: []byte("x-a\x001\x00")})
	result := await.Receive(t, done, "the action")
	want := &v1alpha.UpstreamResponseModifications{StatusCode: 418, Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-a", Value: "1"}}}}
	if result.err != nil || !reflect.DeepEqual(result.action, want) {
		t.Fatalf("expected %+v, got %+v, %v", want, result.action, result.err)
	}
}

func TestImmediateResponseOfBothPhases(t *testing.T) {
	action := &executorv1.Action{
		ImmediateResponse: &executorv1.ImmediateResponse{StatusCode: 401, Headers: []byte("www-authenticate\x00Basic\x00"), Body: []byte("no")},
		AnalyticsMetadata: []byte(`{"denied":true}`),
	}
	want := &v1alpha.ImmediateResponse{
		StatusCode: 401, Headers: []v1alpha.Header{{Name: "www-authenticate", Value: "Basic"}}, Body: []byte("no"),
		AnalyticsMetadata: map[string]any{"denied": true},
	}
	onRequest, err := requestAction(action, nil)
	if err != nil || !reflect.DeepEqual(onRequest, want) {
		t.Errorf("on_request: expected %+v, got %+v, %v", want, onRequest, err)
	}
	onResponse, err := responseAction(action, nil)
	if err != nil || !reflect.DeepEqual(onResponse, want) {
		t.Errorf("on_response: expected %+v, got %+v, %v", want, onResponse, err)
	}
}

func TestEmptyBodyIsABody(t *testing.T) {
	action, err := requestAction(&executorv1.Action{Body: []byte{}}, nil)
	want, ok := action.(*v1alpha.UpstreamRequestModifications)
	if err != nil || !ok || want.Body == nil || len(*want.Body) != 0 {
		t.Errorf("expected the body to be replaced by an empty one, got %+v, %v", action, err)
	}
}

func TestAnEmptyActionIsNil(t *testing.T) {
	shared := &v1alpha.ExchangeMetadata{}
	action := &executorv1.Action{Id: 1, MetadataSet: []byte(`{"seen":1}`)}
	onRequest, err := requestAction(action, shared)
	if onRequest != nil || err != nil {
		t.Errorf("expected nil, nil, got %v, %v", onRequest, err)
	}
	if onResponse, err := responseAction(action, shared); onResponse != nil || err != nil {
		t.Errorf("expected nil, nil, got %v, %v", onResponse, err)
	}
	if value, _ := shared.Get("seen"); value != int64(1) {
		t.Errorf("expected the metadata to be written as an integer, got %v", value)
	}
}

func TestBadActionsChangeNothing(t *testing.T) {
	cases := map[string]struct {
		action   *executorv1.Action
		response bool
	}{
		"set_headers without its last NUL":  {action: &executorv1.Action{SetHeaders: []byte("x-a\x001")}},
		"set_headers with a name only":      {action: &executorv1.Action{SetHeaders: []byte("x-a\x00")}},
		"append_headers with three parts":   {action: &executorv1.Action{AppendHeaders: []byte("a\x00b\x00c\x00")}},
		"remove_headers without NUL":        {action: &executorv1.Action{RemoveHeaders: []byte("x-a")}},
		"headers of an immediate response":  {action: &executorv1.Action{ImmediateResponse: &executorv1.ImmediateResponse{Headers: []byte("x")}}},
		"analytics metadata as a list":      {action: &executorv1.Action{AnalyticsMetadata: []byte("[1]")}},
		"metadata as a list":                {action: &executorv1.Action{MetadataSet: []byte("[1]")}},
		"a status from on_request":          {action: &executorv1.Action{StatusCode: 404}},
		"an upstream from on_response":      {action: &executorv1.Action{Upstream: []byte("main")}, response: true},
		"a path from on_response":           {action: &executorv1.Action{Path: []byte("/x")}, response: true},
		"bad headers from on_response, too": {action: &executorv1.Action{SetHeaders: []byte("x")}, response: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			shared := &v1alpha.ExchangeMetadata{}
			if c.action.MetadataSet == nil {
				c.action.MetadataSet = []byte(`{"half":true}`)
			}
			var err error
			if c.response {
				_, err = responseAction(c.action, shared)
			} else {
				_, err = requestAction(c.action, shared)
			}
			wantClass(t, err, v1alpha.ClassBadAction)
			if text, _ := shared.JSON(); text != nil {
				t.Errorf("expected no metadata to be written, got %s", text)
			}
		})
	}
}

func TestFailureClassesAreTheSameWords(t *testing.T) {
	for _, class := range v1alpha.FailureClasses {
		found := false
		for _, word := range failureClasses {
			found = found || word == class
		}
		if !found {
			t.Errorf("no proto failure class stands for %s", class)
		}
	}
	for number := range executorv1.FailureClass_name {
		want, known := failureClasses[executorv1.FailureClass(number)]
		if !known {
			want = v1alpha.ClassException
			if number != 0 {
				t.Errorf("proto failure class %d has no word", number)
			}
		}
		_, err := requestAction(&executorv1.Action{Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass(number)}}, nil)
		wantClass(t, err, want)
	}
	wantClass(t, failureFrom(&executorv1.Failure{FailureClass: 99}), v1alpha.ClassException)
}

func TestNULInAHeaderIsRefused(t *testing.T) {
	_, i := managed()
	req := request()
	req.Headers = v1alpha.Headers{{Name: "x", Value: "a\x00evil\x001"}}
	ctx, cancel := withDeadline(t.Context())
	defer cancel()
	_, err := requestExecution(ctx, i, req)
	wantClass(t, err, v1alpha.ClassBadAction)
}

func TestExecutionKeepsNothingOfTheContext(t *testing.T) {
	_, i := managed()
	req := request()
	req.Body = []byte("before")
	ctx, cancel := withDeadline(t.Context())
	defer cancel()
	e, err := requestExecution(ctx, i, req)
	must(err)
	copy(req.Body, "after!")
	wantBytes(t, "body", e.message.RequestBody, "before")
}

func TestHeaderBlobsComeBack(t *testing.T) {
	text := rapid.Map(rapid.SliceOf(rapid.ByteRange(1, 255)), func(raw []byte) string { return string(raw) })
	property.Check(t, func(t *rapid.T) {
		var list v1alpha.Headers
		for range rapid.IntRange(0, 8).Draw(t, "headers") {
			list = append(list, v1alpha.Header{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")})
		}
		blob, err := newTextBuilder(rapid.IntRange(0, 64).Draw(t, "room")).headers(list)
		must(err)
		back, err := headerList("headers", blob)
		if err != nil || !reflect.DeepEqual(v1alpha.Headers(back), list) {
			t.Fatalf("expected %q, got %q, %v", list, back, err)
		}
	})
}
