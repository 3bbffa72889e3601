package shadow_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

// phase is a phase whose policy the test plays.
type phase struct {
	result   shadow.Result
	performs func(ctx context.Context) // nil: it does nothing
	ended    chan shadow.Report
}

func (p *phase) Perform(ctx context.Context) shadow.Result {
	if p.performs != nil {
		p.performs(ctx)
	}
	return p.result
}

func (p *phase) Ended(report shadow.Report) { p.ended <- report }

func newPhase(result shadow.Result) *phase {
	return &phase{result: result, ended: make(chan shadow.Report, 1)}
}

// expect waits for the phase's end, and compares it with "OUTCOME: REASON".
func (p *phase) expect(t *testing.T, want string) {
	t.Helper()
	report := await.Receive(t, p.ended, "the end of the phase")
	got := report.Outcome.String()
	if report.Reason != "" {
		got += ": " + report.Reason
	}
	if got != want {
		t.Errorf("expected %q, got %q", want, got)
	}
}

func attachment() *shadow.Attachment {
	return &shadow.Attachment{Bounds: shadow.NewBounds(100), Turns: shadow.NewTurns(8), Timeout: time.Minute}
}

func newRun(a *shadow.Attachment) *shadow.Run { return shadow.NewRun(a, func() {}) }

// begin begins a phase of the run, without a wait.
func begin(a *shadow.Attachment, run *shadow.Run, p *phase, request bool) {
	run.Begin(a.Bounds.Context(), p, request, "").Release()
}

func path(path string) shadow.Effect { return shadow.Effect{Path: path} }

// TestOutcomes: the effect is compared with that of a counterpart, or with the state before.
func TestOutcomes(t *testing.T) {
	failure := v1alpha.Failf(v1alpha.ClassException, "broken")
	expected := path("/b")
	for name, c := range map[string]struct {
		result   shadow.Result
		expected *shadow.Effect
		want     string
	}{
		"no change":                    {shadow.Result{Before: path("/a"), After: path("/a")}, nil, "same"},
		"a change":                     {shadow.Result{Before: path("/a"), After: path("/b")}, nil, "different"},
		"the counterpart's change":     {shadow.Result{Before: path("/a"), After: path("/b")}, &expected, "same"},
		"no change, unlike it":         {shadow.Result{Before: path("/a"), After: path("/a")}, &expected, "different"},
		"a failure":                    {shadow.Result{Failure: failure}, nil, "failed"},
		"a failure for want of a slot": {shadow.Result{Failure: v1alpha.Failf(v1alpha.ClassOverloaded, "no slot")}, nil, "skipped: no slot"},
	} {
		t.Run(name, func(t *testing.T) {
			a, p := attachment(), newPhase(c.result)
			task := newRun(a).Begin(a.Bounds.Context(), p, true, "")
			task.Expect(c.expected)
			task.Release()
			p.expect(t, c.want)
		})
	}
}

func TestAPhaseWaitsForTheOneBefore(t *testing.T) {
	a, let := attachment(), make(chan struct{})
	run, request, response := newRun(a), newPhase(shadow.Result{}), newPhase(shadow.Result{})
	request.performs = func(context.Context) { <-let }
	response.performs = func(context.Context) {
		if len(request.ended) == 0 {
			t.Error("expected the request phase to have ended")
		}
	}
	begin(a, run, request, true)
	begin(a, run, response, false)
	close(let)
	response.expect(t, "same")
	request.expect(t, "same")
}

func TestTheRequestPhaseDecidesOnTheResponsePhase(t *testing.T) {
	for name, c := range map[string]struct {
		request  shadow.Result
		reason   string // for which the request phase is skipped
		response string
	}{
		"it has passed the request on":  {shadow.Result{}, "", "same"},
		"it has answered":               {shadow.Result{Over: true}, "", ": the policy has answered the request, or failed"},
		"it was skipped":                {shadow.Result{}, "no", "skipped: its request phase was skipped"},
		"it was skipped as it was late": {shadow.Result{Failure: v1alpha.Failf(v1alpha.ClassOverloaded, "no"), Over: true}, "", "skipped: its request phase was skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			a := attachment()
			run, request, response := newRun(a), newPhase(c.request), newPhase(shadow.Result{})
			run.Begin(a.Bounds.Context(), request, true, c.reason).Release()
			begin(a, run, response, false)
			response.expect(t, c.response)
		})
	}
}

func TestAPanicIsAFailure(t *testing.T) {
	a, p := attachment(), newPhase(shadow.Result{})
	p.performs = func(context.Context) { panic("oh") }
	begin(a, newRun(a), p, true)
	if report := await.Receive(t, p.ended, "the end"); report.Outcome != shadow.Failed || report.Panic == nil || report.Panic.Message != "panic: oh" {
		t.Errorf("got %+v", report)
	}
}

// TestARunIsReleasedBehindItsLastUse: that of its exchange or that of a phase.
func TestARunIsReleasedBehindItsLastUse(t *testing.T) {
	a, let, released := attachment(), make(chan struct{}), make(chan struct{})
	run, p := shadow.NewRun(a, func() { close(released) }), newPhase(shadow.Result{})
	p.performs = func(context.Context) { <-let }
	begin(a, run, p, true)
	run.Release()
	select {
	case <-released:
		t.Error("expected the run to be in use")
	default:
	}
	close(let)
	await.Receive(t, released, "the release")
}

// ---------------------------------------------------------------- bounds

func TestExecutionsBeyondTheTurnsAreSkipped(t *testing.T) {
	a, let := attachment(), make(chan struct{})
	a.Turns = shadow.NewTurns(1)
	var phases []*phase
	for range 20 {
		p := newPhase(shadow.Result{})
		p.performs = func(context.Context) { <-let }
		begin(a, newRun(a), p, true)
		phases = append(phases, p)
	}
	close(let)
	for n, p := range phases {
		want := "same"
		if n >= 17 {
			want = "skipped: 1 executions of it are under way and 16 wait, maxConcurrency and 16 times as many"
		}
		p.expect(t, want)
	}
}

func TestAnExecutionThatWaitsTooLongForItsTurnIsSkipped(t *testing.T) {
	a, let := attachment(), make(chan struct{})
	a.Turns = shadow.NewTurns(1)
	slow, late := newPhase(shadow.Result{}), newPhase(shadow.Result{})
	slow.performs = func(context.Context) { <-let }
	begin(a, newRun(a), slow, true)
	short := *a
	short.Timeout = time.Nanosecond
	begin(&short, newRun(&short), late, true)
	close(let)
	late.expect(t, "skipped: it waited for its turn longer than its timeout")
	slow.expect(t, "same")
}

func TestExecutionsBeyondTheBoundsAreSkipped(t *testing.T) {
	a, let := attachment(), make(chan struct{})
	a.Bounds = shadow.NewBounds(1)
	first, second, third := newPhase(shadow.Result{}), newPhase(shadow.Result{}), newPhase(shadow.Result{})
	first.performs = func(context.Context) { <-let }
	const full = "skipped: too many executions of shadow attachments wait or are under way on this node"
	begin(a, newRun(a), first, true)
	begin(a, newRun(a), second, true)
	second.expect(t, full)
	close(let)
	first.expect(t, "same")
	a.Bounds.Close()
	begin(a, newRun(a), third, true)
	third.expect(t, full)
}

func TestClosedBoundsEndWhatRuns(t *testing.T) {
	a, p := attachment(), newPhase(shadow.Result{Failure: v1alpha.Failf(v1alpha.ClassException, "cancelled")})
	p.performs = func(ctx context.Context) { <-ctx.Done() }
	begin(a, newRun(a), p, true)
	a.Bounds.Close()
	p.expect(t, "skipped: the engine stops")
}

// ---------------------------------------------------------------- bodies

// body is a copy of at most limit bytes, within room.
type body struct {
	strings.Builder
	limit, room int
	ended       bool
}

func (b *body) Add(piece []byte) (more bool, reason string) {
	if b.Write(piece); b.Len() > b.room {
		return false, "no room"
	}
	return b.Len() <= b.limit, ""
}

func (b *body) End() { b.ended = true }

func TestAPhaseWaitsForItsBody(t *testing.T) {
	for name, c := range map[string]struct {
		limit, room int
		ends        bool
		want, body  string
	}{
		"all of it comes":               {100, 100, true, "same", "abcdef end"},
		"it is larger than it may be":   {4, 100, true, "same", "abcdef"},
		"there is no room":              {100, 4, true, "skipped: no room", "abcdef"},
		"the exchange ends in mid-body": {100, 100, false, "skipped: the exchange ended before its body had come", "abcdef"},
	} {
		t.Run(name, func(t *testing.T) {
			a, p, copied := attachment(), newPhase(shadow.Result{}), &body{limit: c.limit, room: c.room}
			exchange, end := context.WithCancel(t.Context())
			task := newRun(a).Begin(a.Bounds.Context(), p, true, "")
			copying := task.CopyBody(exchange, copied)
			task.Release()
			copying.Add([]byte("abc"), nil)
			if len(p.ended) > 0 {
				t.Fatal("expected the phase to wait for its body")
			}
			copying.Add([]byte("def"), nil)
			if c.ends {
				copying.Add(nil, io.EOF)
			}
			end()
			p.expect(t, c.want)
			copying.Add([]byte("more"), nil)
			if got := copied.String() + map[bool]string{true: " end"}[copied.ended]; got != c.body {
				t.Errorf("expected %q, got %q", c.body, got)
			}
		})
	}
}
