package chain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/condition"
	"gatewright.dev/sdk/policy/v1alpha"
)

// when is an attachment's condition.
func when(t *testing.T, text string) func(*chain.Settings) {
	t.Helper()
	compiled, err := condition.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return func(s *chain.Settings) { s.When = compiled }
}

func (t *transcript) expectSkipped(test *testing.T, policies ...string) {
	test.Helper()
	if !slices.Equal(t.observer.skipped, policies) {
		test.Errorf("expected %q to be skipped, got %q", policies, t.observer.skipped)
	}
}

func TestAPolicyRunsWhereItApplies(t *testing.T) {
	x := get()
	_ = x.run(t, x.marks("yes", "hH", when(t, `request.method == "GET"`)), x.marks("no", "hH", when(t, `request.method == "PUT"`)), x.marks("all", "hH"))
	x.expect(t, `
		yes: request
		all: request marked yes
		send request set=x-mark:yes,x-mark:all
		wait for the response
		all: response 200
		yes: response 200 marked all
		send response set=x-mark:all,x-mark:yes`)
	x.expectSkipped(t, "no:v1.0.0")
	if x.observer.began != 4 {
		t.Errorf("expected no execution of what does not apply, got %d that began", x.observer.began)
	}
}

// TestAConditionSeesWhatThePoliciesBeforeHaveLeft, and is evaluated only once.
func TestAConditionSeesWhatThePoliciesBeforeHaveLeft(t *testing.T) {
	x := get()
	path := "/orders/8"
	before := x.policy(&does{
		name: "before",
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Path: &path, Headers: sets("X-Tier", "gold")}, r.Metadata.Set("tier", "gold")
		},
		response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, nil },
	}, "h")
	after := x.policy(&does{
		name: "after",
		response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return nil, r.Metadata.Set("tier", "none") // which changes no condition's result
		},
	}, "H")
	sees := `metadata["tier"] == "gold" && request.path == "/orders/8" && request.headers["x-tier"] == "gold" && "1" in request.query["a"]`
	if err := x.run(t, before, x.marks("sees", "H", when(t, sees)), after); err != nil {
		t.Fatal(err)
	}
	x.expect(t, `
		before: request
		send request path=/orders/8?a=1 set=x-tier:gold
		wait for the response
		after: response 200
		sees: response 200
		send response set=x-mark:sees`)
	x.expectSkipped(t)
}

// TestABodyIsNotReadForAPolicyThatDoesNotApply: this includes the encoding of responses, and bodies kept for the
// response phase.
func TestABodyIsNotReadForAPolicyThatDoesNotApply(t *testing.T) {
	never := when(t, `request.method == "PUT"`)
	x := post("ab", "cd").answers("ef")
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "accept-encoding", Value: "gzip"})
	keeps := func(s *chain.Settings) { s.Mode.RequestBodyInResponse = true }
	_ = x.run(t, x.marks("keeps", "bB", never, keeps), x.marks("reads", "bB", never))
	x.expect(t, `
		send request body follows
		send the rest
		wait for the response
		send response body follows
		send the rest`)
	x.expectSkipped(t, "keeps:v1.0.0", "reads:v1.0.0")

	x = post("ab").answers("ef")
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "accept-encoding", Value: "gzip"})
	_ = x.run(t, x.marks("applies", "B"), x.marks("reads", "B", never))
	if !slices.Contains(x.lines, "send request set=accept-encoding:identity") {
		t.Errorf("expected the response to be asked for without an encoding, for one that reads it, got %q", x.lines)
	}
}

// TestAnotherPolicyKeepsItsBody: a policy that does not apply leaves the bodies of those that do.
func TestAnotherPolicyKeepsItsBody(t *testing.T) {
	x := post("ab", "cd").answers("ef")
	_ = x.run(t, x.marks("reads", "bB", limit(100)), x.marks("no", "bB", limit(1), when(t, `"x-beta" in request.headers`)))
	x.expect(t, `
		read ab
		read cd
		reads: request body abcd
		send request set=x-mark:reads,accept-encoding:identity body follows
		send all of abcd
		wait for the response
		read ef
		reads: response 200 body ef
		send response set=x-mark:reads body follows
		send all of ef`)
}

func TestAStreamPassesAPolicyByThatDoesNotApply(t *testing.T) {
	everyKind(t, func(t *testing.T, kind string) {
		x := post("ab", "cd").answers("ef", "gh")
		_ = x.run(t, x.streams(kind, "no", "sS", wraps, when(t, `request.method == "GET"`)))
		x.expect(t, `
			send request body follows
			send the rest
			wait for the response
			send response body follows
			send the rest`)
	})
}

// TestAConditionThatCannotBeEvaluatedFails regardless of onError: otherwise a client could choose to skip the policy.
func TestAConditionThatCannotBeEvaluatedFails(t *testing.T) {
	x := get()
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "x-count", Value: "many"})
	broken := when(t, `int(request.headers["x-count"]) > 3`)
	if err := x.run(t, x.marks("before", "hH"), x.marks("asks", "H", broken, goesOn), x.marks("after", "hH")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(x.lines, "\n"); !strings.Contains(got, "before: request\nbefore: response 500\nanswer 500 policy_condition") {
		t.Errorf("expected an answer that the policy before sees, got %s", got)
	}
	all := x.observer.of("asks:v1.0.0")
	if len(all) != 1 || all[0].Failure == nil || all[0].Failure.Class != chain.ClassCondition || all[0].Continued || all[0].Phase != chain.PhaseRequest {
		t.Fatalf("expected one execution that failed, got %+v", all)
	}
	for _, part := range []string{"type conversion error from 'string' to 'int'", `int(request.headers["x-count"]) > 3`} {
		if !strings.Contains(all[0].Failure.Message, part) {
			t.Errorf("expected %q in the failure, got %q", part, all[0].Failure.Message)
		}
	}
	if strings.Contains(x.lines[len(x.lines)-1], "x-count") {
		t.Errorf("expected nothing of the condition for the client, got %q", x.lines)
	}
}

func TestAConditionIsNotEvaluatedAfterAnAnswer(t *testing.T) {
	x := get()
	deny := &v1alpha.ImmediateResponse{StatusCode: 401}
	_ = x.run(t, x.onRequest("denies", "h", deny, nil), x.marks("asks", "h", when(t, `int(request.headers["x"]) > 3`)))
	x.expect(t, `
		denies: request
		answer 401 policy_answer []`)
	x.expectSkipped(t)
}

func TestAWatcherSeesSkippedPolicies(t *testing.T) {
	x := get()
	_ = x.run(t, x.marks("one", "h"), x.marks("no", "hH", when(t, `request.method == "PUT"`)), x.marks("fails", "h", when(t, `1 / size(request.peer.uris) == 1`)))
	want := `1 no:v1.0.0 request skipped: request.method == "PUT"`
	if !slices.Contains(x.looks.notes, want) {
		t.Errorf("expected %q, got %q", want, x.looks.notes)
	}
	if !slices.ContainsFunc(x.looks.notes, func(note string) bool {
		return strings.HasPrefix(note, "2 fails:v1.0.0 request ended condition: ")
	}) {
		t.Errorf("expected an execution that failed, got %q", x.looks.notes)
	}
}

// TestAConditionIsSharedByManyExchanges is for the race detector.
func TestAConditionIsSharedByManyExchanges(t *testing.T) {
	shared := when(t, `request.headers.exists(name, name == "x-beta") && request.headers["x-beta"] == "1"`)
	failed := make(chan error, 8)
	for n := range 8 {
		go func() {
			for range 50 {
				x := get()
				wanted := n%2 == 0
				if wanted {
					x.request.Headers = append(slices.Clone(x.request.Headers), v1alpha.Header{Name: "x-beta", Value: "1"})
				}
				if err := x.run(t, x.marks("one", "h", shared)); err != nil || (len(x.observer.skipped) == 0) != wanted {
					failed <- errors.Join(err, errors.New(strings.Join(x.lines, ", ")))
					return
				}
			}
			failed <- nil
		}()
	}
	for range 8 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
