package chain_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// leaver is a policy whose streams pass bodies on and leave analytics at their end: its name, and "last" with its name.
type leaver struct {
	*flows
	values map[string]any // nil: those
}

func (l *leaver) leave(to *v1alpha.Analytics, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		for chunk, err := range chunks {
			if !yield(chunk, err) {
				return
			}
		}
		if to.Values = l.values; l.values == nil {
			to.Values = map[string]any{l.does.name: true, "last": l.does.name}
		}
	}
}

func (l *leaver) OnRequestStream(_ context.Context, r *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return l.leave(r.Analytics, chunks)
}

func (l *leaver) OnResponseStream(_ context.Context, r *v1alpha.ResponseContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return l.leave(r.Analytics, chunks)
}

// leaves makes a leaver, whose kind is keeping or guarded.
func (t *transcript) leaves(name, letters string, values map[string]any) *chain.Instance {
	l := &leaver{&flows{does: &does{t: t, name: name}}, values}
	return chain.NewInstance(name, name+":v1.0.0", l, chain.Settings{Mode: modes(letters)})
}

// analyticsOf formats analytics behind a transcript's line; "" for none.
func analyticsOf(values map[string]any) string {
	if len(values) == 0 {
		return ""
	}
	text, err := json.Marshal(values)
	if err != nil {
		panic(err)
	}
	return " analytics " + string(text)
}

func TestStreamsLeaveAnalyticsWithTheEndOfTheirMessage(t *testing.T) {
	x := post("ab").answers("cd").inTurn()
	if err := x.run(t, x.leaves("one", "sS", nil), x.leaves("two", "sS", nil)); err != nil {
		t.Error(err)
	}
	x.expect(t, `
		read ab
		send request set=accept-encoding:identity body follows
		send part ab
		send all of analytics {"last":"two","one":true,"two":true}
		wait for the response
		read cd
		send response body follows
		send part cd
		send all of analytics {"last":"one","one":true,"two":true}`)
}

func TestAnalyticsOfABodyInMemoryGoWithTheHeaders(t *testing.T) {
	x := get()
	_ = x.run(t, x.leaves("one", "sS", nil), x.marks("two", "bB"), x.leaves("three", "sS", nil))
	x.expect(t, `
		two: request
		send request set=x-mark:two,accept-encoding:identity analytics {"last":"three","one":true,"three":true}
		wait for the response
		two: response 200
		send response set=x-mark:two analytics {"last":"one","one":true,"three":true}`)
}

func TestAnalyticsOfAStreamThatABufferingPolicyReadsAreSentOnce(t *testing.T) {
	x := post("ab", "cd").inTurn()
	_ = x.run(t, x.leaves("one", "s", nil), x.marks("two", "b"))
	x.expect(t, `
		read ab
		read cd
		two: request body abcd
		send request set=x-mark:two body follows
		send part abcd
		send all of analytics {"last":"one","one":true}`)
}

func TestAnAnswerHasTheAnalyticsOfStreamsThatHadEnded(t *testing.T) {
	x := post("ab")
	refuses := x.policy(&does{name: "two", request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		answer := refusal()
		answer.AnalyticsMetadata = map[string]any{"last": "refusal"}
		return answer, nil
	}}, "b")
	_ = x.run(t, x.leaves("one", "s", nil), refuses)
	if last := x.lines[len(x.lines)-1]; !strings.HasSuffix(last, ` analytics {"last":"refusal","one":true}`) {
		t.Errorf("got %s", last)
	}
}

func TestAnalyticsThatAreNoJSONFailTheStream(t *testing.T) {
	x := get().answers("ab")
	err := x.run(t, x.leaves("one", "S", map[string]any{"a": math.NaN()}))
	if err == nil || !strings.Contains(err.Error(), "the stream of one:v1.0.0 failed") ||
		!strings.Contains(err.Error(), "analytics metadata: expected JSON values") {
		t.Errorf("got %v", err)
	}
	if executions := x.observer.of("one:v1.0.0"); len(executions) != 1 || executions[0].Failure.Class != v1alpha.ClassBadAction {
		t.Errorf("got %+v", executions)
	}
}

func TestAStreamThatFailsLeavesNothing(t *testing.T) {
	x := get()
	fails := x.streams("keeping", "two", "s", after(0, nil, errors.New("oh")))
	_ = x.run(t, x.leaves("one", "s", nil), fails)
	last := x.lines[len(x.lines)-1]
	if !strings.HasPrefix(last, "answer 500 policy_exception") || strings.Contains(last, `"two"`) {
		t.Errorf("got %s", last)
	}
}

func TestAWatcherSeesTheAnalyticsOfStreams(t *testing.T) {
	x := get().answers("ab")
	_ = x.run(t, x.leaves("one", "S", map[string]any{"k": 1}))
	notes := strings.Join(x.looks.notes, "\n")
	for _, want := range []string{"0 one:v1.0.0 response_stream ended: analytics k", `response analytics {"k":1}`} {
		if !strings.Contains(notes, want) {
			t.Errorf("expected %q in:\n%s", want, notes)
		}
	}
}
