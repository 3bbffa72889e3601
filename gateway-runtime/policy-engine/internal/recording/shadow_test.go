package recording_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/sdk/policy/v1alpha"
)

// waits is a policy that acts on a signal.
type waits struct {
	does
	let chan struct{}
}

func (w waits) OnRequest(ctx context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	<-w.let
	return w.does.OnRequest(ctx, r)
}

func beside(policy string, does v1alpha.Policy) *chain.Instance {
	return chain.NewInstance("shadow "+policy, policy, does, chain.Settings{Mode: modes("h"), Shadow: true, Timeout: time.Minute})
}

func setting(name, value string) does {
	return does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: name, Value: value}}}}, nil
	}}
}

// TestAShadowIsRecordedWithItsExchange, even if it ends later; the exchange's duration does not include it.
func TestAShadowIsRecordedWithItsExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		g := newGateway(t, enough, sets("mark", "x-mark", "one"), beside("mark:v2.0.0", waits{setting("x-mark", "two"), let}))
		follower, err := g.recorder.Follow(recording.Filter{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer follower.Close()
		if err := g.server.Serve(t.Context(), get("/orders/7")); err != nil {
			t.Fatal(err)
		}
		if kept := g.recorder.Stats(); kept.Recorded != 0 || kept.UsedBytes == 0 {
			t.Errorf("expected it to wait for its shadow, got %+v", kept)
		}
		time.Sleep(20 * time.Millisecond) // which is none of the exchange's
		close(let)
		texts, _, err := follower.Next(t.Context())
		if err != nil || len(texts) != 1 {
			t.Fatalf("expected one exchange, got %d, %v", len(texts), err)
		}
		e := read(t, texts[0])
		if len(e.Executions) != 2 || e.DurationMs >= e.Executions[1].DurationMs {
			t.Fatalf("expected an exchange that was over before its shadow, got %s", texts[0])
		}
		shadow := e.Executions[1]
		shadow.StartedMs, shadow.DurationMs, shadow.WorkMs = 0, 0, nil
		expect(t, "shadow", asJSON(t, shadow), `{"index":1,"policy":"mark:v2.0.0","phase":"request","startedMs":0,"durationMs":0,"outcome":"changed",`+
			`"changes":[{"what":"header","name":"x-mark","after":["two"]}],"shadow":true,"comparison":"different","comparedWith":0}`)
		if applied := e.Executions[0]; applied.Shadow || applied.Comparison != "" {
			t.Errorf("expected the other one to be applied, got %+v", applied)
		}
		expect(t, "forwarded", fmt.Sprint(e.Forwarded.Headers), "[[x-request-id id-1] [x-mark one]]")
		await.Until(t, "all memory is given back", func() bool { return g.recorder.Stats().UsedBytes == 0 })
	})
}

func TestShadowsAreFoundByTheirOutcome(t *testing.T) {
	for want, policy := range map[string]does{
		"same": {}, "different": setting("x-a", "1"),
		"failed": {request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return nil, errors.New("broken") }},
	} {
		g := newGateway(t, enough, beside("s:v1.0.0", policy))
		g.record(t, get("/orders/7"))
		for _, outcome := range chain.ShadowOutcomes {
			if kept := g.recorder.Kept(filter(t, fmt.Sprintf(`{"shadow": %q}`, outcome))); (len(kept) == 1) != (outcome == want) {
				t.Errorf("%s: %s finds %d", want, outcome, len(kept))
			}
		}
		if kept := g.recorder.Kept(filter(t, `{"errors": true}`)); len(kept) != 0 {
			t.Errorf("%s: expected no error of the exchange's", want)
		}
	}
	if _, err := recording.ParseFilter([]byte(`{"shadow": "other"}`)); err == nil || err.Error() != `filter: shadow: expected same, different, failed, skipped, got "other"` {
		t.Errorf("got %v", err)
	}
}

func TestASkippedShadowHasAReason(t *testing.T) {
	body := chain.NewInstance("s", "s:v1.0.0", does{}, chain.Settings{Mode: modes("b"), Shadow: true})
	denies := policy("denies", "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return &v1alpha.ImmediateResponse{StatusCode: 403}, nil
	}})
	e := newGateway(t, enough, body, denies).record(t, get("/orders/7").posts("a", "b"))
	at := e.Executions[0]
	expect(t, "shadow", spaced(at.Shadow, at.Outcome, at.Reason), "true skipped the exchange ended before its body had come")
}
