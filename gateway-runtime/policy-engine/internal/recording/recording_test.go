package recording_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/condition"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestAnExchangeIsRecorded(t *testing.T) {
	put := "PUT"
	notes := policy("notes", "hH", does{
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Method: &put, AnalyticsMetadata: map[string]any{"tier": "gold"}}, r.Metadata.Set("user", "ann")
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.UpstreamResponseModifications{StatusCode: 201}, nil
		},
	})
	g := newGateway(t, enough, notes, policy("reads", "bB", does{}), policy("quiet", "", does{}))
	f := get("/orders/7?a=1").posts(`{"a":`, `1}`).answers(200, "fine").with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	e := g.record(t, f)
	expect(t, "whose", spaced(e.Version, e.ID, e.Node, e.API, e.APIVersion, e.Context, e.Operation, e.Chain, e.Policies, e.TraceID),
		"1 id-1 node-1 orders v1.0 /orders GET /{id} c1 [notes:v1.0.0 reads:v1.0.0 quiet:v1.0.0] 0af7651916cd43dd8448eb211c80319c")
	expect(t, "end", spaced(e.Outcome, e.AnsweredBy, e.Metadata, e.Analytics, e.Client.Address), "completed upstream map[user:ann] map[tier:gold] 192.0.2.1:5")
	expect(t, "request", message(t, e.Request), `POST https example.org /orders/7 a=1 0 {"size":7,"text":"{\"a\":1}"}`)
	expect(t, "forwarded", message(t, e.Forwarded), `PUT https example.org /orders/7 a=1 0 {"size":7,"text":"{\"a\":1}"}`)
	expect(t, "upstream", message(t, e.Upstream), `200 {"size":4,"text":"fine"}`)
	expect(t, "response", message(t, e.Response), `201 {"size":4,"text":"fine"}`)
	expect(t, "request", changes(t, e, "notes", "request"),
		`[{"what":"method","before":"POST","after":"PUT"},{"what":"metadata","name":"user","after":"ann"},{"what":"analytics","name":"tier","after":"gold"}]`)
	expect(t, "response", changes(t, e, "notes", "response"), `[{"what":"status","before":200,"after":201}]`)
	var turns []string
	for _, x := range e.Executions {
		turns = append(turns, fmt.Sprint(x.Index, " ", x.Policy, " ", x.Phase, " ", x.Outcome))
	}
	expect(t, "executions", strings.Join(turns, ", "),
		"0 notes:v1.0.0 request changed, 1 reads:v1.0.0 request unchanged, 1 reads:v1.0.0 response unchanged, 0 notes:v1.0.0 response changed")
	if e.DurationMs <= 0 || e.StartedAt.IsZero() || e.Executions[3].StartedMs < e.Executions[0].StartedMs || e.Response.AtMs < e.Forwarded.AtMs {
		t.Errorf("expected times in order, got %+v", e)
	}
}

func spaced(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

func message(t *testing.T, m *recording.Message) string {
	t.Helper()
	if m == nil {
		return "none"
	}
	return strings.Join(strings.Fields(fmt.Sprint(m.Method, " ", m.Scheme, " ", m.Authority, " ", m.Path, " ", m.Query, " ", m.Status, " ", asJSON(t, m.Body))), " ")
}

func TestTheThirdOfFiveChangesAHeader(t *testing.T) {
	passes := does{}
	g := newGateway(t, enough, policy("one", "h", passes), policy("two", "h", passes), sets("three", "x-user", "bob"), policy("four", "h", passes), policy("five", "h", passes))
	e := g.record(t, get("/orders/7").with("x-user", "ann"))
	for n, x := range e.Executions {
		if want := map[bool]string{true: "changed", false: "unchanged"}[n == 2]; x.Outcome != want {
			t.Errorf("%s: expected %s, got %s", x.Policy, want, x.Outcome)
		}
	}
	expect(t, "change", changes(t, e, "three", "request"), `[{"what":"header","name":"x-user","before":["ann"],"after":["bob"]}]`)
}

// TestAResponseThatNoPolicySeesIsRecorded with the metadata that policies have set, and found by its status.
func TestAResponseThatNoPolicySeesIsRecorded(t *testing.T) {
	notes := policy("notes", "h", does{request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return &v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"tier": "gold"}}, r.Metadata.Set("user", "ann")
	}})
	g := newGateway(t, enough, notes)
	e := g.record(t, get("/orders/7").answers(503, "unseen"))
	expect(t, "end", spaced(e.Outcome, e.AnsweredBy, e.Metadata, e.Analytics), "completed upstream map[user:ann] map[tier:gold]")
	expect(t, "upstream", message(t, e.Upstream), "503 null")
	expect(t, "response", message(t, e.Response), "503 null")
	if kept := g.recorder.Kept(filter(t, `{"errors": true, "status": "5xx"}`)); len(kept) != 1 {
		t.Errorf("expected it among the errors, got %d", len(kept))
	}
}

// TestAStreamsWaitForChunksIsMeasuredSeparately from its own work, and from the wait for its turn.
func TestAStreamsWaitForChunksIsMeasuredSeparately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		works := does{stream: func(chunks v1alpha.Chunks) v1alpha.Chunks {
			return func(yield func([]byte, error) bool) {
				for chunk, err := range chunks {
					time.Sleep(10 * time.Millisecond)
					if !yield(chunk, err) {
						return
					}
				}
			}
		}}
		f := get("/orders/7").posts("one", "two", "three")
		f.pause = 100 * time.Millisecond
		e := newGateway(t, enough, policy("works", "s", works)).record(t, f)
		x := e.Executions[0]
		if x.ChunksMs == nil || x.WorkMs == nil {
			t.Fatalf("expected both times, got %+v", x)
		}
		expect(t, "took, work, chunks", spaced(x.Phase, x.DurationMs, *x.WorkMs, *x.ChunksMs), "request_stream 330 30 300")
		expect(t, "forwarded", spaced(e.Forwarded.AtMs, e.Forwarded.EndMs), "110 330")
	})
}

// TestAnAnswerOfTheProxysIsRecorded with its cause, whether or not a policy sees it.
func TestAnAnswerOfTheProxysIsRecorded(t *testing.T) {
	for _, modes := range []string{"h", "hH"} {
		g := newGateway(t, enough, policy("one", modes, does{}))
		f := get("/orders/7?token=abc").answers(503, "away")
		f.proxy = &proxyanswer.Answer{Status: 503, Flags: "UF", Details: "upstream_reset", Upstream: "192.0.2.7:80", Transport: "Connection refused"}
		e := g.record(t, f)
		expect(t, "answered by", spaced(e.AnsweredBy, e.Details, e.Outcome, e.Response.Status), "proxy upstream_reset completed 503")
		expect(t, "cause", spaced(e.Cause.Party, e.Cause.Code, e.Cause.Flags, e.Cause.Reason),
			"upstream connection_refused UF the upstream 192.0.2.7:80 refused the connection")
	}
}

// TestAnExchangeThatTheEngineHasNotSeenIsRecorded if a recording matches it, without secrets.
func TestAnExchangeThatTheEngineHasNotSeenIsRecorded(t *testing.T) {
	g := newGateway(t, enough)
	unseen := &recording.Unseen{RequestID: "id-1", Client: "192.0.2.1:5", Query: "token=abc&a=1", UserAgent: "curl", StartedAt: time.Unix(1, 0), Lasted: time.Millisecond,
		Answer: proxyanswer.Answer{Status: 404, Flags: "NR", Details: "route_not_found", Method: "GET", Authority: "example.org", Path: "/oders/7"}}
	cause := proxyanswer.Explain(&unseen.Answer)
	if g.recorder.IsActive() {
		t.Error("expected no recording")
	}
	g.recorder.RecordUnseen(unseen, &cause)
	for _, text := range []string{`{"path": "/oders"}`, `{"errors": true}`, `{"client": "192.0.2.1", "status": "404"}`, `{"api": "orders"}`} {
		if _, err := g.recorder.Start(filter(t, text), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	g.recorder.RecordUnseen(unseen, &cause)
	kept := g.recorder.Kept(filter(t, `{"header": {"name": "user-agent", "value": "curl"}}`))
	if len(kept) != 1 {
		t.Fatalf("expected one exchange, got %d", len(kept))
	}
	e := read(t, kept[0])
	expect(t, "request", spaced(e.Request.Method, e.Request.Path, e.Request.Query, e.Redacted), "GET /oders/7 token=[redacted]&a=1 1")
	expect(t, "cause", spaced(e.AnsweredBy, e.Response.Status, e.Cause.Party, e.Cause.Code, e.DurationMs), "proxy 404 client no_route 1")
	var counts []uint64
	for _, status := range g.recorder.Stats().Recordings {
		counts = append(counts, status.Recorded)
	}
	expect(t, "recordings that wanted it", spaced(counts), "[1 0 1 0]")
}

func TestAnAnswerIsRecorded(t *testing.T) {
	denies := policy("denies", "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return &v1alpha.ImmediateResponse{StatusCode: 401, Body: []byte("no"), Headers: []v1alpha.Header{{Name: "X-Why", Value: "key"}}}, nil
	}})
	adds := policy("adds", "H", does{response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
		return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: "x-seen", Value: "1"}}}}, nil
	}})
	e := newGateway(t, enough, adds, denies, policy("never", "h", does{})).record(t, get("/orders/7"))
	expect(t, "answered by", fmt.Sprint(e.AnsweredBy, " ", e.Details, " ", e.Forwarded == nil, " ", e.Upstream == nil, " ", len(e.Executions)), "policy policy_answer true true 2")
	expect(t, "answer", changes(t, e, "denies", "request"), `[{"what":"answer","after":{"body":{"size":2,"text":"no"},"headers":[["x-why","key"]],"status":401}}]`)
	expect(t, "adds", changes(t, e, "adds", "response"), `[{"what":"header","name":"x-seen","after":["1"]}]`)
	expect(t, "outcome", e.Executions[0].Outcome, "answered")
	expect(t, "response", message(t, e.Response), `401 {"size":2,"text":"no"}`)
}

func TestFailuresAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // until the slow policy has returned
		slow := policyWith("slow", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			time.Sleep(50 * time.Millisecond)
			return nil, nil
		}}, chain.Settings{Mode: modes("h"), Timeout: time.Millisecond, OnError: chain.OnError{Default: chain.Continue}})
		panics := policy("panics", "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { panic("oh") }})
		e := newGateway(t, enough, slow, panics).record(t, get("/orders/7"))
		expect(t, "answered by", fmt.Sprint(e.AnsweredBy, " ", e.Details, " ", e.Outcome, " ", e.Response.Status), "failure policy_exception completed 500")
		first, second := e.Executions[0], e.Executions[1]
		if first.Outcome != "continued" || first.Failure.Class != v1alpha.ClassTimeout {
			t.Errorf("got %+v, %+v", first, first.Failure)
		}
		if second.Outcome != "failed" || second.Failure.Class != v1alpha.ClassException || second.Failure.File != "recording_test.go" || second.Failure.Line == 0 {
			t.Errorf("got %+v, %+v", second, second.Failure)
		}
	})
}

func TestHowExchangesEnd(t *testing.T) {
	passes := policy("passes", "h", does{})
	gone := get("/orders/7")
	gone.gone = true
	e := newGateway(t, enough, passes).record(t, gone)
	expect(t, "gone", fmt.Sprint(e.Outcome, " ", e.Error, " ", e.AnsweredBy), "cancelled the proxy has cancelled the exchange ")
	e = newGateway(t, enough).record(t, get("/orders/7"))
	expect(t, "unknown", spaced(e.Outcome, e.AnsweredBy, e.Details, e.Response.Status, e.Chain, e.API, e.Operation), "completed gateway unknown_chain 503 c1 orders GET /{id}")
	e = newGateway(t, enough).record(t, &front{opening: exchange.Opening{Refusal: 403}})
	expect(t, "refused", spaced(e.Outcome, e.AnsweredBy, e.Details, e.Response.Status, e.Request == nil), "completed gateway proxy_refused 403 true")
	early := get("/orders/7").posts("a").answers(413)
	early.responded = true
	e = newGateway(t, enough, policy("reads", "bB", does{})).record(t, early)
	expect(t, "proxy", spaced(e.Outcome, e.AnsweredBy, e.Response.Status, e.Forwarded == nil), "completed proxy 413 true")
}

func TestStreamsAreRecorded(t *testing.T) {
	upper := policy("upper", "s", does{stream: func(chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			for chunk, err := range chunks {
				if !yield(bytes.ToUpper(bytes.Repeat(chunk, 2)), err) {
					return
				}
			}
		}
	}})
	f := get("/orders/7").posts("ab", "cd")
	f.trailers[chain.Request] = v1alpha.Headers{{Name: "x-sum", Value: "1"}}
	e := newGateway(t, enough, upper).record(t, f)
	x := e.Executions[0]
	expect(t, "stream", fmt.Sprint(x.Phase, " ", x.Outcome, " ", asJSON(t, x.Stream)), `request_stream changed {"bytesIn":4,"bytesOut":8}`)
	expect(t, "came", asJSON(t, e.Request.Body)+asJSON(t, e.Request.Trailers), `{"size":4,"text":"abcd"}[["x-sum","1"]]`)
	expect(t, "left", asJSON(t, e.Forwarded.Body)+asJSON(t, e.Forwarded.Trailers), `{"size":8,"text":"ABABCDCD"}[["x-sum","1"]]`)
	rejects := policy("rejects", "s", does{stream: func(v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			yield(nil, &v1alpha.Reject{Response: &v1alpha.ImmediateResponse{StatusCode: 422, Body: []byte("no")}})
		}
	}})
	leaves := policy("leaves", "hs", does{
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"plan": "none", "token": "secret"}}, nil
		},
		stream: func(chunks v1alpha.Chunks) v1alpha.Chunks { return chunks },
		leaves: map[string]any{"plan": "free", "tokens": 7, "password": "secret"},
	})
	e = newGateway(t, enough, leaves).record(t, get("/orders/7").posts("ab"))
	expect(t, "analytics", asJSON(t, e.Analytics)+changes(t, e, "leaves", "request_stream"),
		`{"password":"[redacted]","plan":"free","token":"[redacted]","tokens":7}[{"what":"analytics","name":"password","after":"[redacted]"},`+
			`{"what":"analytics","name":"plan","before":"none","after":"free"},{"what":"analytics","name":"tokens","after":7}]`)
	e = newGateway(t, enough, rejects).record(t, get("/orders/7").posts("ab"))
	expect(t, "reject", e.Executions[0].Outcome+changes(t, e, "rejects", "request_stream"),
		`answered[{"what":"answer","after":{"body":{"size":2,"text":"no"},"headers":[],"status":422}}]`)
}

func TestBodiesAreCut(t *testing.T) {
	long := strings.Repeat("é", 16<<10)
	replaces := policy("replaces", "b", does{request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		body := []byte("x" + string(r.Body[1:]))
		return &v1alpha.UpstreamRequestModifications{Body: &body}, nil
	}})
	e := newGateway(t, enough, replaces, policy("reads", "b", does{})).record(t, get("/orders/7").posts(long[:5001], long[5001:]).with("content-type", "text/plain"))
	body := e.Request.Body
	if body.Size != int64(len(long)) || !body.Truncated || *body.Text != long[:16<<10] {
		t.Errorf("expected the beginning, got %d, %t, %d", body.Size, body.Truncated, len(*body.Text))
	}
	if got := changes(t, e, "replaces", "request"); !strings.Contains(got, `"truncated":true`) || strings.Count(got, `"size":32768`) != 2 {
		t.Errorf("got %.200s", got)
	}
	expect(t, "reads", e.Executions[1].Outcome, "unchanged")
	binary := newGateway(t, enough, policy("reads", "b", does{})).record(t, get("/orders/7").posts("\xff\x00"))
	expect(t, "binary", asJSON(t, binary.Request.Body), `{"size":2,"base64":"/wA="}`)
}

func TestSecretsAreRedacted(t *testing.T) {
	const secret = "hunter2hunter2"
	zipped := &bytes.Buffer{}
	writer := gzip.NewWriter(zipped)
	_, _ = fmt.Fprintf(writer, `{"password":%q,"kept":"zipped"}`, secret)
	_ = writer.Close()
	leaks := policyWith("leaks", does{
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			query, body := "token="+secret+"&b=1", []byte(`{"password":"`+secret+`","kept":"made"}`)
			return &v1alpha.UpstreamRequestModifications{Query: &query, Body: &body, AnalyticsMetadata: map[string]any{"token": secret},
					Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "Authorization", Value: secret}}}},
				errors.Join(r.Metadata.Set("password", secret), r.Metadata.Set("deep", map[string]any{"token": []any{secret}}))
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.ImmediateResponse{StatusCode: 200, Body: []byte("password=" + secret + "&kept=answered"),
				Headers: []v1alpha.Header{{Name: "Set-Cookie", Value: secret}, {Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}}, nil
		},
	}, chain.Settings{Mode: modes("bB")})
	fails := policy("fails", "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return nil, errors.New("cannot use password=" + secret)
	}})
	f := get("/orders/7?key="+secret+"&a=1").posts(zipped.String()).with("content-encoding", "gzip").with("content-type", "application/json").
		with("authorization", "Bearer "+secret).with("cookie", "a="+secret).with("x-api-key", secret).with("referer", "http://x/?token="+secret)
	g := newGateway(t, enough, leaks, fails)
	follower, err := g.recorder.Follow(recording.Filter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	_ = g.server.Serve(t.Context(), f)
	texts, _, _ := follower.Next(t.Context())
	if text := string(texts[0]); strings.Contains(text, secret) || strings.Contains(text, secret[:8]) {
		t.Errorf("expected no secret, got %s", text)
	}
	e := read(t, texts[0])
	for _, kept := range []string{"zipped", "made", "answered", "a=1", "b=1"} {
		if !strings.Contains(string(texts[0]), kept) {
			t.Errorf("expected %s to stay, got %s", kept, texts[0])
		}
	}
	if e.Redacted < 12 || e.Request.Body.Decoded != "gzip" {
		t.Errorf("expected 12 secrets and more, got %d; %+v", e.Redacted, e.Request.Body)
	}
}

// TestABodyThatCannotBeDecodedIsNotShown: it may contain secrets.
func TestABodyThatCannotBeDecodedIsNotShown(t *testing.T) {
	passes := policyWith("passes", does{}, chain.Settings{Mode: func() v1alpha.ProcessingModeConfig {
		m := modes("b")
		m.EncodedBodies = v1alpha.EncodedPass
		return m
	}()})
	for coding, want := range map[string]string{
		"gzip": `{"size":9,"truncated":true,"decoded":"gzip"}`, "aes128gcm": `{"size":9,"truncated":true,"decoded":"aes128gcm"}`,
	} {
		e := newGateway(t, enough, passes).record(t, get("/orders/7").posts("password=").with("content-encoding", coding))
		expect(t, coding, asJSON(t, e.Request.Body), want)
	}
}

func TestAPolicyThatDoesNotApplyIsRecorded(t *testing.T) {
	never, err := condition.Compile(`request.headers["x-beta"] == "1"`)
	if err != nil {
		t.Fatal(err)
	}
	broken, err := condition.Compile(`int(request.headers["x-count"]) > 1`)
	if err != nil {
		t.Fatal(err)
	}
	skips := policyWith("skips", does{}, chain.Settings{Mode: modes("hH"), When: never})
	fails := policyWith("fails", does{}, chain.Settings{Mode: modes("H"), When: broken, OnError: chain.OnError{Default: chain.Continue}})
	e := newGateway(t, enough, skips, fails).record(t, get("/orders/7"))
	expect(t, "answered by", fmt.Sprint(e.AnsweredBy, " ", e.Details, " ", len(e.Executions)), "failure policy_condition 2")
	expect(t, "skipped", spaced(e.Executions[0].Policy, e.Executions[0].Phase, e.Executions[0].Outcome, e.Executions[0].When), `skips:v1.0.0 request skipped request.headers["x-beta"] == "1"`)
	expect(t, "failed", spaced(e.Executions[1].Outcome, e.Executions[1].Failure.Class, e.Executions[1].When), "failed condition ")
}

func TestSecretsOfPoliciesAreRedactedEverywhere(t *testing.T) {
	const token = "purge-token-that-must-not-be-seen"
	says := policy("says", "bB", does{
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-again", Value: token}}}},
				r.Metadata.Set("held", map[string]any{"list": []any{"it is " + token}})
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return nil, errors.New("expected something else than " + token)
		},
	})
	g := newGateway(t, enough, says)
	recorded := func() string {
		f := get("/orders/"+token+"?a="+token).with("x-my-purge", token).posts(`{"a": "`+token+`"}`).answers(200, "data: "+token)
		f.response.Headers = append(f.response.Headers, v1alpha.Header{Name: "x-echo", Value: token})
		text, err := json.Marshal(g.record(t, f))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for range 2 { // headers known to be harmless are looked up by name and value
		shown := recorded()
		if strings.Count(shown, token) < 8 {
			t.Fatalf("expected the token while no policy holds it, got %s", shown)
		}
		g.values.Add([]string{token})
		shown = recorded()
		g.values.Remove([]string{token})
		if strings.Contains(shown, token) || !strings.Contains(shown, `["x-my-purge","[redacted]"]`) {
			t.Errorf("expected no token, got %s", shown)
		}
	}
}

// later is the cause of a failure whose place is reported later.
type later struct {
	tell chan func(file string, line int)
}

func (later) Error() string { return "its process says where it was" }

func (l later) Located(report func(file string, line int)) { l.tell <- report }

// TestARecordingWaitsForThePlaceOfATimeout while the exchange has its answer already, and for a bounded time.
func TestARecordingWaitsForThePlaceOfATimeout(t *testing.T) {
	for _, reported := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			place := later{make(chan func(string, int), 1)}
			hangs := policy("hangs", "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
				return nil, &v1alpha.Failure{Class: v1alpha.ClassTimeout, Message: "no answer", Cause: place}
			}})
			g := newGateway(t, enough, hangs)
			follower, err := g.recorder.Follow(recording.Filter{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer follower.Close()
			_ = g.server.Serve(t.Context(), get("/orders/7"))
			if kept := g.recorder.Kept(recording.Filter{}); len(kept) != 0 {
				t.Errorf("expected the recording to wait, got %d", len(kept))
			}
			if report := <-place.tell; reported {
				report("policies/hangs/policy.py", 39)
			}
			texts, _, err := follower.Next(t.Context())
			if err != nil || len(texts) != 1 {
				t.Fatalf("expected one exchange, got %d, %v", len(texts), err)
			}
			failure := read(t, texts[0]).Executions[0].Failure
			if reported && (failure.File != "policies/hangs/policy.py" || failure.Line != 39 || !strings.HasSuffix(failure.Message, "; it was at policies/hangs/policy.py:39")) {
				t.Errorf("expected the place, got %+v", failure)
			}
			if !reported && (failure.File != "" || strings.Contains(failure.Message, "it was at")) {
				t.Errorf("expected no place, got %+v", failure)
			}
		})
	}
}
