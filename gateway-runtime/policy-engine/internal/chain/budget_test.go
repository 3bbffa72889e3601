package chain_test

import (
	"context"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// runWithin is run with so many bytes left for all bodies, which are all given back in the end.
func (t *transcript) runWithin(test *testing.T, bytes int64, instances ...*chain.Instance) {
	test.Helper()
	const others = 1 << 20
	budget := chain.NewBudget(others + bytes)
	chain.Charge(budget, others)
	t.runOn(test, budget, instances...)
	if held := budget.Stats().Held; held != others {
		test.Errorf("%d bytes are still charged", held-others)
	}
}

func (t *transcript) runOn(test *testing.T, budget *chain.Budget, instances ...*chain.Instance) {
	test.Helper()
	c, err := chain.New(chain.Spec{ID: "c1", API: "orders", Context: "/orders", Operation: "POST /", Instances: instances, Bodies: budget})
	if err != nil {
		test.Fatal(err)
	}
	if err := c.Run(test.Context(), t, nil, nil); err != nil {
		test.Fatal(err)
	}
}

const overloaded = `answer 503 policy_overloaded [content-type:application/problem+json,retry-after:1] {"type":"about:blank","title":"Service Unavailable","status":503,"detail":"A policy of the gateway is not available.","requestId":"id-1"}`

func TestABodyThatDoesNotFitIsRefusedUnread(t *testing.T) {
	x := post("never read")
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "content-length", Value: "1000"})
	x.runWithin(t, 999, x.marks("sees", "b"))
	x.expect(t, overloaded)
}

const tooLarge = `answer 413 policy_bodyTooLarge [content-type:application/problem+json] {"type":"about:blank","title":"Request Entity Too Large","status":413,"detail":"The request body is too large.","requestId":"id-1"}`

// TestABodyThatCanNeverFitIsTooLarge: a retry would not help.
func TestABodyThatCanNeverFitIsTooLarge(t *testing.T) {
	x := post("never read")
	x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: "content-length", Value: "501"})
	x.runOn(t, chain.NewBudget(1000), x.marks("sees", "b"))
	x.expect(t, tooLarge)
	piece := strings.Repeat("x", 300)
	x = post(piece, piece, "never read")
	x.runOn(t, chain.NewBudget(1000), x.marks("sees", "b"))
	x.expect(t, "read "+piece+"\nread "+piece+"\n"+tooLarge)
}

func TestABodyIsReadAsFarAsItFits(t *testing.T) {
	piece := strings.Repeat("x", 1000)
	x := post(piece, piece, piece, "never read")
	x.runWithin(t, 2500, x.marks("one", "hH"), x.marks("sees", "b"))
	x.expect(t, "one: request\nread "+piece+"\nread "+piece+"\nread "+piece+"\none: response 503\n"+strings.Replace(overloaded, "1]", "1,x-mark:one]", 1))
}

func TestABodyThatDoesNotFitPassesUnderOnErrorContinue(t *testing.T) {
	piece := strings.Repeat("x", 1000)
	x := post(piece, piece, "the rest")
	x.runWithin(t, 1500, x.marks("sees", "b", goesOn), x.marks("late", "h"))
	x.expect(t, "read "+piece+"\nread "+piece+"\nlate: request\nsend request set=x-mark:late body follows\nsend part "+piece+"\nsend part "+piece+"\nsend the rest")
}

func TestAResponseBodyThatDoesNotFitIsRefused(t *testing.T) {
	x := get().answers("never read")
	x.response.Headers = v1alpha.Headers{{Name: "content-length", Value: "1000"}}
	x.runWithin(t, 999, x.marks("sees", "B"))
	x.expect(t, "send request set=accept-encoding:identity\nwait for the response\n"+overloaded)
}

func TestAPolicysBodyIsCharged(t *testing.T) {
	large := make([]byte, 1000)
	for name, action := range map[string]v1alpha.RequestAction{
		"of a request":  &v1alpha.UpstreamRequestModifications{Body: &large},
		"of an answer ": &v1alpha.ImmediateResponse{StatusCode: 200, Body: large},
	} {
		x := get()
		x.runWithin(t, 999, x.onRequest(name, "h", action, nil))
		x.expect(t, name+": request\n"+overloaded)
	}
}

// TestAPolicysCopyIsChargedWhileItRuns: a body of 1,000 bytes and the copy that goes to Python.
func TestAPolicysCopyIsChargedWhileItRuns(t *testing.T) {
	x := post(strings.Repeat("x", 1000))
	x.runWithin(t, 1999, x.marks("sees", "b"))
	x.expect(t, "read "+strings.Repeat("x", 1000)+"\n"+overloaded)
}

func TestAClientThatGoesAwayGivesBack(t *testing.T) {
	budget := chain.NewBudget(1 << 20)
	x := post("abc")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := chain.New(chain.Spec{ID: "c1", Instances: []*chain.Instance{x.marks("sees", "b")}, Bodies: budget})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx, x, nil, nil); err == nil || budget.Stats().Held != 0 {
		t.Errorf("expected an error and nothing charged, got %v, %d bytes", err, budget.Stats().Held)
	}
}
