package chain_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// shadowNote records a shadow attachment's execution.
type shadowNote struct {
	turn       chain.Turn
	shadow     chain.Shadow
	seen, left string
}

func (l *looks) ShadowBegan(ctx context.Context, turn chain.Turn) context.Context {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.shadowsBegan = append(l.shadowsBegan, turn)
	return ctx
}

func (l *looks) ShadowEnded(turn chain.Turn, shadow chain.Shadow) {
	note := shadowNote{turn: turn, shadow: shadow}
	if shadow.Seen.Metadata != nil {
		note.seen, note.left = viewed(shadow.Seen), viewed(shadow.Left)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.shadows = append(l.shadows, note)
	if l.shadowEnded != nil {
		close(l.shadowEnded)
		l.shadowEnded = nil
	}
}

// waitForShadows waits until all started executions have ended, and returns them by place and phase.
func (l *looks) waitForShadows(test *testing.T) []shadowNote {
	test.Helper()
	for {
		l.mutex.Lock()
		ended := len(l.shadows) == len(l.shadowsBegan)
		if l.shadowEnded == nil {
			l.shadowEnded = make(chan struct{})
		}
		next := l.shadowEnded
		notes := slices.Clone(l.shadows)
		l.mutex.Unlock()
		if ended {
			slices.SortFunc(notes, func(a, b shadowNote) int {
				return cmp.Or(cmp.Compare(a.turn.Index, b.turn.Index), cmp.Compare(a.turn.Phase, b.turn.Phase))
			})
			return notes
		}
		<-next
	}
}

func (n shadowNote) String() string {
	text := fmt.Sprintf("%d %s %s %s", n.turn.Index, n.turn.Policy, n.turn.Phase, n.shadow.Execution.Shadow)
	if at := n.shadow.ComparedWith; at >= 0 {
		text += fmt.Sprintf(" (as %d)", at)
	}
	if failure := n.shadow.Execution.Failure; failure != nil {
		text += fmt.Sprintf(" %s", failure.Class)
	}
	if n.shadow.Execution.Answered {
		text += " answered"
	}
	if n.shadow.Reason != "" {
		text += ": " + n.shadow.Reason
	}
	return text
}

// expectShadows compares the executions of shadow attachments, without views, with want.
func (t *transcript) expectShadows(test *testing.T, want string) {
	test.Helper()
	seen := transcript{}
	for _, note := range t.looks.waitForShadows(test) {
		seen.lines = append(seen.lines, strings.TrimSpace(note.String()))
	}
	seen.expect(test, want)
}

// quiet is a policy that notes nothing.
type quiet struct{ does }

func (d *quiet) OnRequest(_ context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if d.request == nil {
		return nil, nil
	}
	return d.request(r)
}

func (d *quiet) OnResponse(_ context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if d.response == nil {
		return nil, nil
	}
	return d.response(r)
}

// shadow is a shadow attachment of the policy name:version.
func shadow(id string, d does, letters string, settings ...func(*chain.Settings)) *chain.Instance {
	s := chain.Settings{Mode: modes(letters), Shadow: true}
	for _, set := range settings {
		set(&s)
	}
	return chain.NewInstance("shadow "+id, id, &quiet{d}, s)
}

func marksAs(name string) does {
	mark := v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: "X-Mark", Value: name}}}
	return does{
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: mark}, nil
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.UpstreamResponseModifications{Headers: mark}, nil
		},
	}
}

func does1(action v1alpha.RequestAction, err error) does {
	return does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return action, err }}
}

func TestAShadowSeesItsPlaceAndChangesNothing(t *testing.T) {
	x := get()
	if err := x.run(t, x.marks("one", "hH"), shadow("s:v1.0.0", marksAs("s"), "hH"), x.marks("two", "hH")); err != nil {
		t.Fatal(err)
	}
	x.expect(t, `
		one: request
		two: request marked one
		send request set=x-mark:one,x-mark:two
		wait for the response
		two: response 200
		one: response 200 marked two
		send response set=x-mark:two,x-mark:one`)
	x.expectShadows(t, `
		1 s:v1.0.0 request different
		1 s:v1.0.0 response different`)
	request, response := x.looks.shadows[0], x.looks.shadows[1]
	if request.turn.Phase != chain.PhaseRequest {
		request, response = response, request
	}
	const head = "GET example.org/orders/7?a=1 [x-request-id:id-1,x-mark:one"
	if request.seen != head+"]" || request.left != head+",x-mark:s]" {
		t.Errorf("got %q, then %q", request.seen, request.left)
	}
	if !strings.HasSuffix(response.seen, "| 200 [x-mark:two]") || !strings.HasSuffix(response.left, "| 200 [x-mark:two,x-mark:s]") {
		t.Errorf("got %q, then %q", response.seen, response.left)
	}
	if got := x.observer.ended[chain.Labels{Policy: "s:v1.0.0", API: "orders", Operation: "GET /{id}", Shadow: true}]; len(got) != 2 || got[0].Shadow != chain.ShadowDifferent {
		t.Errorf("expected two executions to be counted, got %+v", got)
	}
}

func TestAShadowBesideItsPolicyIsComparedWithIt(t *testing.T) {
	yes, no, path := "yes", "no", "/orders/8"
	set := func(value string) v1alpha.RequestAction {
		return &v1alpha.UpstreamRequestModifications{Headers: sets("x-mark", value)}
	}
	answer := func(status int, body string) v1alpha.RequestAction {
		return &v1alpha.ImmediateResponse{StatusCode: status, Body: []byte(body)}
	}
	failed := errors.New("broken")
	for name, c := range map[string]struct {
		applied, beside   v1alpha.RequestAction
		failure, failure2 error
		want              string
	}{
		"the same header":          {set(yes), set(yes), nil, nil, "same"},
		"another value":            {set(yes), set(no), nil, nil, "different"},
		"nothing":                  {nil, nil, nil, nil, "same"},
		"nothing, and something":   {nil, set(yes), nil, nil, "different"},
		"something, and nothing":   {set(yes), nil, nil, nil, "different"},
		"the same body":            {requestBody("b"), requestBody("b"), nil, nil, "same"},
		"another body":             {requestBody("b"), requestBody("c"), nil, nil, "different"},
		"the body as it was":       {requestBody("whole"), nil, nil, nil, "same"},
		"the body as it was, here": {nil, requestBody("whole"), nil, nil, "same"},
		"the same answer":          {answer(403, "no"), answer(403, "no"), nil, nil, "same answered"},
		"another answer":           {answer(403, "no"), answer(403, "yes"), nil, nil, "different answered"},
		"an answer, here":          {nil, answer(403, "no"), nil, nil, "different answered"},
		"an answer, there":         {answer(403, "no"), nil, nil, nil, "different"},
		"another path":             {&v1alpha.UpstreamRequestModifications{Path: &path}, nil, nil, nil, "different"},
		"a failure, here":          {set(yes), nil, nil, failed, "failed exception"},
		"a failure, there":         {nil, nil, failed, nil, "different"},
		"analytics":                {&v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"k": 1}}, nil, nil, nil, "different"},
	} {
		for _, order := range []string{"before", "behind"} {
			t.Run(name+" "+order, func(t *testing.T) {
				x := post("who", "le")
				applied := x.onRequest("p", "b", c.applied, c.failure)
				beside := shadow("p:v2.0.0", does1(c.beside, c.failure2), "b")
				instances, at := []*chain.Instance{beside, applied}, 0
				if order == "behind" {
					instances, at = []*chain.Instance{applied, beside}, 1
				}
				if err := x.run(t, instances...); err != nil {
					t.Fatal(err)
				}
				x.expectShadows(t, fmt.Sprintf("%d p:v2.0.0 request %s", at, strings.Replace(c.want+" ", " ", fmt.Sprintf(" (as %d) ", 1-at), 1)))
			})
		}
	}
}

func TestAShadowAloneIsComparedWithNoChange(t *testing.T) {
	for name, c := range map[string]struct {
		action v1alpha.RequestAction
		want   string
	}{
		"nothing": {nil, "same"}, "a header": {&v1alpha.UpstreamRequestModifications{Headers: sets("x-a", "1")}, "different"},
		"the header as it is": {&v1alpha.UpstreamRequestModifications{Headers: sets("x-request-id", "id-1")}, "same"},
		"a refused action":    {&v1alpha.UpstreamRequestModifications{Headers: sets("host", "x")}, "failed badAction"},
	} {
		t.Run(name, func(t *testing.T) {
			x := get()
			if err := x.run(t, shadow("s:v1.0.0", does1(c.action, nil), "h")); err != nil {
				t.Fatal(err)
			}
			x.expect(t, "send request")
			x.expectShadows(t, "0 s:v1.0.0 request "+c.want)
		})
	}
}

func TestAShadowIsGivenACopyOfTheBodyAsItPasses(t *testing.T) {
	upper := func(body string) does { return does1(requestBody(body), nil) }
	for name, c := range map[string]struct {
		chain  func(x *transcript) []*chain.Instance
		seen   string // of the body
		want   string
		answer bool
	}{
		"no other policy reads it": {func(*transcript) []*chain.Instance {
			return []*chain.Instance{shadow("s:v1.0.0", upper("s"), "b")}
		}, "abc", "0 s:v1.0.0 request different", false},
		"one behind it wants it": {func(x *transcript) []*chain.Instance {
			return []*chain.Instance{shadow("s:v1.0.0", upper("abc"), "b"), x.onRequest("p", "b", requestBody("made"), nil)}
		}, "abc", "0 s:v1.0.0 request same", false},
		"one before it has made it": {func(x *transcript) []*chain.Instance {
			return []*chain.Instance{x.onRequest("p", "b", requestBody("made"), nil), shadow("s:v1.0.0", upper("made"), "b")}
		}, "made", "1 s:v1.0.0 request same", false},
		"one before it has read it": {func(x *transcript) []*chain.Instance {
			return []*chain.Instance{x.onRequest("p", "b", nil, nil), shadow("s:v1.0.0", upper("s"), "b")}
		}, "abc", "1 s:v1.0.0 request different", false},
		"one before it streams it": {func(x *transcript) []*chain.Instance {
			return []*chain.Instance{x.streams("inline", "p", "s", wraps), shadow("s:v1.0.0", upper("s"), "b")}
		}, "p(a)p(b)p(c)", "1 s:v1.0.0 request different", false},
		"one behind it streams it": {func(x *transcript) []*chain.Instance {
			return []*chain.Instance{shadow("s:v1.0.0", upper("s"), "b"), x.streams("inline", "p", "s", wraps)}
		}, "abc", "0 s:v1.0.0 request different", false},
		"it is too large": {func(*transcript) []*chain.Instance {
			return []*chain.Instance{shadow("s:v1.0.0", upper("s"), "b", limit(2))}
		}, "", "0 s:v1.0.0 request failed bodyTooLarge", false},
		"there is an answer before it has come": {func(x *transcript) []*chain.Instance {
			return []*chain.Instance{shadow("s:v1.0.0", upper("s"), "b"), x.onRequest("p", "h", &v1alpha.ImmediateResponse{StatusCode: 403}, nil)}
		}, "", "0 s:v1.0.0 request skipped: the exchange ended before its body had come", true},
	} {
		t.Run(name, func(t *testing.T) {
			x := post("a", "b", "c")
			if err := x.run(t, c.chain(x)...); err != nil {
				t.Fatal(err)
			}
			x.expectShadows(t, c.want)
			if seen := x.looks.shadows[0].seen; c.seen != "" && !strings.HasSuffix(seen, " "+c.seen) {
				t.Errorf("expected the body %s, got %s", c.seen, seen)
			}
		})
	}
}

func TestAShadowOfTheResponseIsGivenItsBody(t *testing.T) {
	x := get().answers("a", "b")
	if err := x.run(t, shadow("s:v1.0.0", does{response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
		return responseBody(strings.ToUpper(string(r.Body))), nil
	}}, "B")); err != nil {
		t.Fatal(err)
	}
	x.expect(t, `
		send request
		wait for the response
		send response body follows
		send the rest`)
	x.expectShadows(t, "0 s:v1.0.0 response different")
	if left := x.looks.shadows[0].left; !strings.HasSuffix(left, "AB") {
		t.Errorf("expected AB, got %s", left)
	}
}

func TestAShadowsMetadataIsItsOwn(t *testing.T) {
	x := get()
	keeps := shadow("s:v1.0.0", does{
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			r.Metadata.Delete("one")
			return nil, r.Metadata.Set("s", 1)
		},
		response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			text, err := r.Request.Metadata.JSON()
			return &v1alpha.UpstreamResponseModifications{Headers: sets("x-seen", string(text))}, err
		},
	}, "hH")
	notes := func(key string) *chain.Instance {
		return x.policy(&does{name: key, request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			if _, there := r.Metadata.Get("s"); there {
				t.Error("expected a shadow's metadata to be its own")
			}
			return nil, r.Metadata.Set(key, 1)
		}}, "h")
	}
	if err := x.run(t, notes("one"), keeps, notes("two")); err != nil {
		t.Fatal(err)
	}
	x.expectShadows(t, `
		1 s:v1.0.0 request different
		1 s:v1.0.0 response different`)
	if left := x.looks.waitForShadows(t)[1].left; !strings.Contains(left, `x-seen:{"s":1,"two":1}`) {
		t.Errorf(`expected s and two, got %s`, left)
	}
}

func TestAShadowThatAnswersDoesNotSeeTheResponse(t *testing.T) {
	for name, d := range map[string]does{
		"answers": does1(&v1alpha.ImmediateResponse{StatusCode: 403}, nil), "fails": does1(nil, errors.New("broken")),
	} {
		x := get()
		d.response = func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			t.Errorf("%s: expected no response phase", name)
			return nil, nil
		}
		if err := x.run(t, shadow("s:v1.0.0", d, "hH")); err != nil {
			t.Fatal(err)
		}
		notes := x.looks.waitForShadows(t)
		if len(notes) != 2 || notes[1].shadow.Execution.Shadow != chain.NotShadow {
			t.Errorf("%s: expected no report of the response phase, got %v", name, notes)
		}
	}
}

// slow is a policy that returns on a signal, regardless of its context.
type slow struct {
	quiet
	let chan struct{}
}

func (s *slow) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	<-s.let
	return nil, nil
}

// blocking hides NeverBlocks.
type blocking struct{ v1alpha.Policy }

func TestNoExchangeWaitsForAShadow(t *testing.T) {
	x, policy := get(), &slow{let: make(chan struct{})}
	beside := chain.NewInstance("s", "s:v1.0.0", blocking{policy}, chain.Settings{Mode: modes("h"), Shadow: true, Timeout: time.Minute})
	if err := x.run(t, x.marks("one", "h"), beside); err != nil {
		t.Fatal(err)
	}
	x.expect(t, `
		one: request
		send request set=x-mark:one`)
	close(policy.let)
	x.expectShadows(t, "1 s:v1.0.0 request same")
}

func TestAShadowThatIsLateFailsAlone(t *testing.T) {
	x, policy := get(), &slow{let: make(chan struct{})}
	defer close(policy.let)
	beside := chain.NewInstance("s", "s:v1.0.0", blocking{policy}, chain.Settings{Mode: modes("h"), Shadow: true, Timeout: time.Millisecond})
	if err := x.run(t, beside); err != nil {
		t.Fatal(err)
	}
	x.expectShadows(t, "0 s:v1.0.0 request failed timeout")
}

func TestExcessExecutionsOfAShadowAreSkipped(t *testing.T) {
	policy := &slow{let: make(chan struct{})}
	beside := chain.NewInstance("s", "s:v1.0.0", blocking{policy}, chain.Settings{Mode: modes("h"), Shadow: true, Timeout: time.Minute, MaxConcurrency: 1})
	var all []*transcript
	for range 20 {
		x := get()
		if err := x.run(t, beside); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	close(policy.let)
	counts := map[string]int{}
	for _, x := range all {
		counts[x.looks.waitForShadows(t)[0].String()]++
	}
	const reason = "0 s:v1.0.0 request skipped: 1 executions of it are under way and 16 wait, maxConcurrency and 16 times as many"
	if counts["0 s:v1.0.0 request same"] != 17 || counts[reason] != 3 {
		t.Errorf("expected 17 to run and 3 to be skipped, got %v", counts)
	}
}

func TestAllShadowsTogetherAreBounded(t *testing.T) {
	policy := &slow{let: make(chan struct{})}
	shadows := chain.NewShadows(1, nil)
	make := func(id string) *chain.Instance {
		return chain.NewInstance(id, id+":v1.0.0", blocking{policy}, chain.Settings{Mode: modes("h"), Shadow: true, Timeout: time.Minute})
	}
	x := get()
	x.shadows = shadows
	if err := x.run(t, make("a"), make("b")); err != nil {
		t.Fatal(err)
	}
	close(policy.let)
	x.expectShadows(t, `
		0 a:v1.0.0 request same
		1 b:v1.0.0 request skipped: too many executions of shadow attachments wait or are under way on this node`)
	shadows.Close()
	late := get()
	late.shadows = shadows
	if err := late.run(t, make("a")); err != nil {
		t.Fatal(err)
	}
	late.expectShadows(t, "0 a:v1.0.0 request skipped: too many executions of shadow attachments wait or are under way on this node")
}

// TestAShadowsBodyNeedsRoom in a budget of its own: it uses none of the exchange's.
func TestAShadowsBodyNeedsRoom(t *testing.T) {
	const skipped = "0 s:v1.0.0 request skipped: there is no room for its copy of the body: those of all shadow attachments together may take a quarter of --body-memory"
	for name, c := range map[string]struct {
		applied, copies int64
		want            string
	}{
		"there is some": {1000, 1000, "0 s:v1.0.0 request same"}, "there is none": {1000, 100, skipped},
		"it would be more than half": {1000, 15, skipped}, "the exchange needs none of it": {0, 1000, "0 s:v1.0.0 request same"},
	} {
		t.Run(name, func(t *testing.T) {
			x, copies := post("abcd", "efgh"), chain.NewBudget(c.copies)
			x.bodies, x.shadows = chain.NewBudget(c.applied), chain.NewShadows(chain.MaxShadows, copies)
			if err := x.run(t, shadow("s:v1.0.0", does{}, "b")); err != nil {
				t.Fatal(err)
			}
			x.expectShadows(t, c.want)
			x.shadows.Close()
			if held := copies.Stats().Held; held != 0 || x.bodies.Stats().Refused != 0 {
				t.Errorf("expected nothing to be held or refused, got %d", held)
			}
		})
	}
}

func TestAShadowKeepsItsChainUntilItHasEnded(t *testing.T) {
	policy := &slow{let: make(chan struct{})}
	beside := chain.NewInstance("s", "s:v1.0.0", blocking{policy}, chain.Settings{Mode: modes("h"), Shadow: true, Timeout: time.Minute})
	x := get()
	c, err := chain.New(chain.Spec{ID: "c1", Instances: []*chain.Instance{beside}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context(), x, &x.looks, nil); err != nil {
		t.Fatal(err)
	}
	if c.Active() != 1 {
		t.Errorf("expected the chain to be in use, got %d", c.Active())
	}
	close(policy.let)
	x.looks.waitForShadows(t)
	await.Until(t, "the chain is released, right after the watcher was notified", func() bool { return c.Active() == 0 })
}

func TestInvalidShadowsAreRefused(t *testing.T) {
	for _, mode := range []v1alpha.ProcessingModeConfig{
		modes("s"), modes("S"), {RequestBodyMode: v1alpha.BodyBuffer, ResponseHeaderMode: v1alpha.HeaderProcess, RequestBodyInResponse: true},
	} {
		_, err := chain.New(chain.Spec{ID: "c", Instances: []*chain.Instance{
			chain.NewInstance("i", "p:v1.0.0", &quiet{}, chain.Settings{Mode: mode, Shadow: true}),
		}})
		if err == nil || !strings.Contains(err.Error(), "shadow: expected a policy that streams no body, without requestBodyInResponse") {
			t.Errorf("%+v: expected a refusal, got %v", mode, err)
		}
	}
}

func TestAChainOfShadowsRefusesNoMessage(t *testing.T) {
	x := get()
	for n := range 150 {
		x.request.Headers = append(x.request.Headers, v1alpha.Header{Name: fmt.Sprint("x-", n), Value: "v"})
		x.response.Headers = append(x.response.Headers, v1alpha.Header{Name: fmt.Sprint("x-", n), Value: "v"})
	}
	if err := x.run(t, shadow("s:v1.0.0", does{}, "hH")); err != nil {
		t.Fatal(err)
	}
	x.expect(t, `
		send request
		wait for the response
		send response`)
}

func TestManyExchangesWithShadowsAtOnce(t *testing.T) {
	first, second := shadow("p:v2.0.0", marksAs("s"), "bB"), shadow("q:v1.0.0", does1(requestBody("x"), nil), "bH")
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			x := post("a", "b")
			x.answers("c", "d")
			if err := x.run(t, first, x.marks("p", "bB"), second); err != nil {
				t.Error(err)
			}
			for _, note := range x.looks.waitForShadows(t) {
				if outcome := note.shadow.Execution.Shadow; outcome != chain.ShadowDifferent && outcome != chain.ShadowSkipped && outcome != chain.ShadowSame {
					t.Errorf("got %s", note)
				}
			}
		})
	}
	group.Wait()
}

// TestAShadowRunsWhereItApplies: it has its own condition, evaluated once, whose failure does not affect the exchange.
func TestAShadowRunsWhereItApplies(t *testing.T) {
	x := get()
	sets := does{
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: sets("x-shadow", "1")}, nil
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, nil },
	}
	err := x.run(t,
		shadow("yes:v1.0.0", sets, "hH", when(t, `request.method == "GET"`)),
		shadow("no:v1.0.0", sets, "hH", when(t, `request.method == "PUT"`)),
		shadow("unknown:v1.0.0", sets, "hH", when(t, `int(request.headers["x-none"]) > 1`)))
	if err != nil {
		t.Fatal(err)
	}
	x.expectShadows(t, `
		0 yes:v1.0.0 request different
		0 yes:v1.0.0 response same
		2 unknown:v1.0.0 request skipped: when: type conversion error from 'string' to 'int', in int(request.headers["x-none"]) > 1
		2 unknown:v1.0.0 response skipped: when: type conversion error from 'string' to 'int', in int(request.headers["x-none"]) > 1`)
	x.expectSkipped(t)
}
