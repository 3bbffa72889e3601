package chain_test

import (
	"fmt"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

func passesEncoded(s *chain.Settings) { s.Mode.EncodedBodies = v1alpha.EncodedPass }

func refusesEncoded(s *chain.Settings) { s.Mode.EncodedBodies = v1alpha.EncodedRefuse }

func keepsBody(s *chain.Settings) { s.Mode.RequestBodyInResponse = true }

// sees is a policy that notes the request's body in its response phase, and changes nothing.
func (t *transcript) sees(name, letters string, settings ...func(*chain.Settings)) *chain.Instance {
	return t.policy(&does{name: name, response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
		t.say("%s: to request body %q, nil %v", name, r.Request.Body, r.Request.Body == nil)
		return nil, nil
	}}, letters, settings...)
}

func TestRequestBodyInTheResponsePhase(t *testing.T) {
	x := post("ab", "cd")
	_ = x.run(t, x.sees("asks", "bH", keepsBody), x.sees("asks not", "bH"), x.onRequest("new", "h", requestBody("longer"), nil))
	x.expect(t, `
		read ab
		read cd
		asks: request body abcd
		asks not: request body abcd
		new: request
		send request body follows
		send all of longer
		wait for the response
		asks not: response 200
		asks not: to request body "", nil true
		asks: response 200
		asks: to request body "longer", nil false
		send response`)
	x = get()
	_ = x.run(t, x.sees("asks", "bH", keepsBody))
	x.expect(t, `
		asks: request
		send request
		wait for the response
		asks: response 200
		asks: to request body "", nil true
		send response`)
}

// TestHasBody: a request has a body unless it ended with its headers, regardless of these, or policies have changed
// that.
func TestHasBody(t *testing.T) {
	length := func(x *transcript) *transcript {
		x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "content-length", Value: "4"})
		return x
	}
	for name, c := range map[string]struct {
		came   *transcript
		before []string // what policies before make the body
		want   bool
	}{
		"none":                        {came: get()},
		"none, regardless of headers": {came: length(get())},
		"one":                         {came: post("ab"), want: true},
		"one that is not known yet":   {came: post(), want: true},
		"one of a policy":             {came: get(), before: []string{"new"}, want: true},
		"one that a policy takes":     {came: post("ab"), before: []string{""}},
		"the last one counts":         {came: post("ab"), before: []string{"", "new"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			var instances []*chain.Instance
			for i, body := range c.before {
				instances = append(instances, c.came.onRequest(fmt.Sprint("sets", i), "h", requestBody(body), nil))
			}
			got := map[string]bool{}
			looks := &does{name: "looks", request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
				got["request"] = r.HasBody
				return nil, nil
			}, response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
				got["response"] = r.Request.HasBody
				return nil, nil
			}}
			if err := c.came.run(t, append(instances, c.came.policy(looks, "hH"))...); err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || got["request"] != c.want || got["response"] != c.want {
				t.Errorf("expected %t in both phases, got %v", c.want, got)
			}
		})
	}
}

func TestRequestBodyInTheResponsePhaseOfAnAnswer(t *testing.T) {
	x := post("ab")
	_ = x.run(t, x.sees("asks", "bH", keepsBody), x.onRequest("denies", "h", refusal(), nil))
	x.expect(t, `
		read ab
		asks: request body ab
		denies: request
		asks: response 401
		asks: to request body "ab", nil false
		answer 401 policy_answer [x-why:key] no`)
}

func TestRequestBodyThatHasGrownBeyondTheLimit(t *testing.T) {
	x := post("ab")
	_ = x.run(t, x.sees("asks", "bH", keepsBody, limit(4)), x.onRequest("new", "h", requestBody("longer"), nil))
	x.expect(t, `
		read ab
		asks: request body ab
		new: request
		send request body follows
		send all of longer
		wait for the response
		answer 502 policy_bodyTooLarge [content-type:application/problem+json] {"type":"about:blank","title":"Bad Gateway","status":502,"detail":"The response body is too large for the gateway.","requestId":"id-1"}`)
}

func TestRequestBodyInTheResponseNeedsBoth(t *testing.T) {
	for _, letters := range []string{"b", "hH", "H"} {
		x := get()
		_, err := chain.New(chain.Spec{ID: "c", Instances: []*chain.Instance{x.sees("asks", letters, keepsBody)}})
		if err == nil || !strings.Contains(err.Error(), "requestBodyInResponse: expected requestBodyMode BUFFER") {
			t.Errorf("%s: got %v", letters, err)
		}
	}
}

// ---------------------------------------------------------------- content encodings

func encodedAs(values ...string) v1alpha.Headers {
	var headers v1alpha.Headers
	for _, value := range values {
		headers = append(headers, v1alpha.Header{Name: "content-encoding", Value: value})
	}
	return headers
}

const unsupported = `answer 415 policy_badBody [content-type:application/problem+json,accept-encoding:identity] {"type":"about:blank","title":"Unsupported Media Type","status":415,"detail":"The request body is partial (content-range), or has a content encoding; expected the whole body without one.","requestId":"id-1"}`

func TestEncodedRequestBodyIsRefused(t *testing.T) {
	for _, headers := range []v1alpha.Headers{
		encodedAs("gzip"), encodedAs("identity, GZip"), encodedAs("identity", "br"), encodedAs("Deflate"), encodedAs("x-gzip;q=1"),
	} {
		x := post("zip")
		x.request.Headers = headers
		_ = x.run(t, x.marks("sees", "b", refusesEncoded))
		x.expect(t, "read zip\n"+unsupported)
	}
	for _, headers := range []v1alpha.Headers{nil, encodedAs("identity"), encodedAs("IDENTITY , identity"), encodedAs("", " , ")} {
		x := post("plain")
		x.request.Headers = headers
		_ = x.run(t, x.marks("sees", "b", refusesEncoded))
		if got := strings.Join(x.lines, "\n"); !strings.Contains(got, "sees: request body plain") {
			t.Errorf("%v: expected the policy to be called, got\n%s", headers, got)
		}
	}
}

func TestPoliciesThatSeeAnEncodedBody(t *testing.T) {
	x := post("zip")
	x.request.Headers = encodedAs("gzip")
	_ = x.run(t, x.marks("headers only", "h"), x.marks("passes", "b", passesEncoded), x.marks("goes on", "b", goesOn))
	x.expect(t, `
		headers only: request
		read zip
		passes: request marked headers only body zip
		send request set=x-mark:headers only,x-mark:passes body follows
		send all of zip`)
	x = get() // nothing is encoded
	x.request.Headers = encodedAs("gzip")
	_ = x.run(t, x.marks("sees", "b"))
	x.expect(t, `
		sees: request
		send request set=x-mark:sees`)
	x = post() // chunked, and empty
	x.request.Headers = encodedAs("gzip")
	_ = x.run(t, x.marks("sees", "b"))
	if x.lines[0] != "sees: request" {
		t.Errorf("expected an empty body to be none, got %s", x.lines[0])
	}
}

func TestEncodedAndTooLargeIsEncodedFirst(t *testing.T) {
	x := post("never read")
	x.request.Headers = append(encodedAs("gzip"), v1alpha.Header{Name: "content-length", Value: "7"})
	_ = x.run(t, x.marks("sees", "b", refusesEncoded, limit(6)))
	x.expect(t, unsupported)
}

func TestEncodedBodiesToGRPCClients(t *testing.T) {
	x := post("zip")
	x.request.Headers = append(encodedAs("gzip"), v1alpha.Header{Name: "content-type", Value: "application/grpc"})
	_ = x.run(t, x.marks("sees", "b", refusesEncoded))
	x.expect(t, `
		read zip
		answer 415 policy_badBody grpc-status=12 [] The request body is partial (content-range), or has a content encoding; expected the whole body without one.`)
}

func TestEncodedResponseBodyIsRefused(t *testing.T) {
	x := get().answers("zip")
	x.response.Headers = encodedAs("gzip")
	_ = x.run(t, x.marks("sees", "B", refusesEncoded))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		read zip
		answer 502 policy_badBody [content-type:application/problem+json] {"type":"about:blank","title":"Bad Gateway","status":502,"detail":"The response body is partial, or has a content encoding that the gateway cannot read.","requestId":"id-1"}`)
	x = get().answers("zip")
	x.response.Headers = encodedAs("gzip")
	_ = x.run(t, x.marks("goes on", "B", refusesEncoded, goesOn), x.marks("passes", "B", passesEncoded))
	x.expect(t, `
		send request set=accept-encoding:identity
		wait for the response
		read zip
		passes: response 200 body zip
		send response set=x-mark:passes body follows
		send all of zip`)
}

func TestEncodedResponsesWithoutABodyPass(t *testing.T) {
	length := v1alpha.Header{Name: "content-length", Value: "9"}
	for _, c := range []struct {
		method string
		status int
		ended  bool
	}{{"HEAD", 200, true}, {"HEAD", 200, false}, {"GET", 204, true}, {"GET", 304, true}, {"GET", 304, false}, {"GET", 200, true}} {
		x := get()
		x.request.Method = c.method
		x.response.Status, x.response.Ended = c.status, c.ended
		x.response.Headers = append(encodedAs("gzip"), length)
		_ = x.run(t, x.marks("sees", "B", limit(4)))
		if got := strings.Join(x.lines, "\n"); !strings.Contains(got, fmt.Sprintf("sees: response %d\n", c.status)) {
			t.Errorf("%+v: expected the policy to be called, got\n%s", c, got)
		}
	}
}

func TestUpstreamIsAskedForNoEncodingOnlyWhereAPolicyReadsItsBody(t *testing.T) {
	for letters, want := range map[string]string{
		"H": "send request", "h": "sees: request\nsend request set=x-mark:sees", "hB": "sees: request\nsend request set=x-mark:sees,accept-encoding:identity",
	} {
		x := get()
		x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "accept-encoding", Value: "gzip, br"})
		_ = x.run(t, x.marks("sees", letters))
		if got := strings.Join(x.lines, "\n"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: expected %q first, got\n%s", letters, want, got)
		}
	}
	x := get()
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "accept-encoding", Value: "gzip"})
	_ = x.run(t, x.marks("passes", "B", passesEncoded))
	if x.lines[0] != "send request" {
		t.Errorf("expected accept-encoding to stay for one who takes any, got %s", x.lines[0])
	}
}

func TestAReplacedBodyHasNoEncodingButItsOwn(t *testing.T) {
	x := post("zip")
	x.request.Headers = encodedAs("gzip")
	own := requestBody("brotli")
	own.Headers = sets("Content-Encoding", "br")
	_ = x.run(t, x.onRequest("decodes", "b", requestBody("text"), nil, passesEncoded), x.marks("reads", "b"), x.onRequest("encodes", "h", own, nil))
	x.expect(t, `
		read zip
		decodes: request body zip
		reads: request body text
		encodes: request marked reads
		send request set=content-encoding:br,x-mark:reads body follows
		send all of brotli`)
	x = get().answers("zip")
	x.response.Headers = encodedAs("gzip")
	_ = x.run(t, x.onResponse("replaces", "H", responseBody("text"), nil))
	if last := x.lines[len(x.lines)-1]; !strings.Contains(strings.Join(x.lines, "\n"), "remove=content-encoding") {
		t.Errorf("expected content-encoding to go with the body, got %s", last)
	}
}

// ---------------------------------------------------------------- limits of headers

func many(count, size int) v1alpha.Headers {
	var headers v1alpha.Headers
	for n := range count {
		headers = append(headers, v1alpha.Header{Name: fmt.Sprintf("x-%d", n), Value: strings.Repeat("v", size)})
	}
	return headers
}

func TestTooManyHeadersOfTheClient(t *testing.T) {
	for _, c := range []struct {
		headers v1alpha.Headers
		status  string
	}{{many(100, 1), "sees: request"}, {many(101, 1), "answer 431"}, {many(60, 1000), "sees: request"}, {many(70, 1000), "answer 431"}} {
		x := get()
		x.request.Headers = c.headers
		_ = x.run(t, x.marks("sees", "hH"))
		if !strings.HasPrefix(x.lines[0], c.status) {
			t.Errorf("%d headers: expected %s, got %.200s", len(c.headers), c.status, x.lines[0])
		}
	}
	x := get()
	x.request.Headers = many(101, 1)
	_ = x.run(t, x.marks("sees", "hH"))
	x.expect(t, `answer 431 headers_too_large [content-type:application/problem+json] {"type":"about:blank","title":"Request Header Fields Too Large","status":431,"detail":"The request's headers are too many or too large: expected at most 100 header lines, got 101, with those that the gateway adds.","requestId":"id-1"}`)
}

func TestTooManyHeadersOfTheUpstream(t *testing.T) {
	x := get()
	x.response.Headers = many(101, 1)
	_ = x.run(t, x.marks("sees", "H"))
	x.expect(t, `
		send request
		wait for the response
		sees: response 502
		answer 502 headers_too_large [content-type:application/problem+json,x-mark:sees] {"type":"about:blank","title":"Bad Gateway","status":502,"detail":"The upstream's response headers are too many or too large.","requestId":"id-1"}`)
}

func TestTooManyHeadersOfAPolicy(t *testing.T) {
	for _, headers := range []v1alpha.Headers{many(201, 1), many(2, 100_000)} {
		set := v1alpha.HeaderModifications{Set: headers}
		x := get()
		instance := x.onRequest("sets", "h", &v1alpha.UpstreamRequestModifications{Headers: set}, nil)
		_ = x.run(t, instance)
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 500 policy_badAction") {
			t.Errorf("request: expected badAction, got %.200s", last)
		}
		x = get()
		_ = x.run(t, x.onResponse("sets", "H", &v1alpha.UpstreamResponseModifications{Headers: set}, nil))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 500 policy_badAction") {
			t.Errorf("response: expected badAction, got %.200s", last)
		}
		x = get()
		_ = x.run(t, x.onRequest("answers", "h", &v1alpha.ImmediateResponse{StatusCode: 200, Headers: headers}, nil))
		if last := x.lines[len(x.lines)-1]; !strings.HasPrefix(last, "answer 500 policy_badAction") {
			t.Errorf("answer: expected badAction, got %.200s", last)
		}
	}
	x := get()
	x.request.Headers = many(100, 1)
	_ = x.run(t, x.onRequest("sets", "h", &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Append: many(100, 1)}}, nil))
	if !strings.HasPrefix(x.lines[1], "send request") {
		t.Errorf("expected 200 lines to pass, got %.200s", x.lines[1])
	}
	x = get()
	_ = x.run(t, x.onRequest("sets", "h", &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: many(300, 1)}}, nil, goesOn), x.marks("next", "h"))
	x.expect(t, `
		sets: request
		next: request
		send request set=x-mark:next`)
}
