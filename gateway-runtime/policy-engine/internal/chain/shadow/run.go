// Package shadow runs policies beside exchanges: when their executions may run, what they are compared with, and what
// came of them. It knows no exchange: the chain makes the copies on which policies run, and applies their actions there.
package shadow

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Outcome is the result of a shadow attachment's execution.
type Outcome uint8

// The outcomes.
const (
	None      Outcome = iota
	Same              // its changes equal those of its counterpart, or there are none and it has no counterpart
	Different         // its changes differ
	Failed
	Skipped // it did not run: there was no capacity, no body, or no counterpart to compare it with
)

// Outcomes are the outcomes as text, from Same on.
var Outcomes = [...]string{"same", "different", "failed", "skipped"}

// String is the outcome as text; "" for None.
func (o Outcome) String() string {
	if o == None {
		return ""
	}
	return Outcomes[o-Same]
}

// Attachment is a shadow attachment of a chain. All exchanges share it.
type Attachment struct {
	Bounds  *Bounds
	Turns   *Turns
	Timeout time.Duration // how long an execution waits for its turn
}

// Phase is one phase of the policy, on the copy of an exchange.
type Phase interface {
	// Perform runs the policy, and applies its action to the copy.
	Perform(ctx context.Context) Result
	// Ended comes once, also if Perform has not been called. The copy is not used any more.
	Ended(report Report)
}

// Result is what came of a phase.
type Result struct {
	Failure       *v1alpha.Failure // of the policy, or of its action; nil: none
	Before, After Effect
	Body          [][]byte // the message's, as far as it is known, before the phase
	Over          bool     // the policy does not see the response: it has answered the request, or failed
}

// Report is the end of a phase. The outcome is None if there was no execution, since the request phase was Over.
type Report struct {
	Outcome Outcome
	Reason  string           // why it was skipped
	Panic   *v1alpha.Failure // of Perform; nil: none
}

// The reasons for which an execution is skipped.
const (
	noRoomAtAll    = "too many executions of shadow attachments wait or are under way on this node"
	noBody         = "the exchange ended before its body had come"
	requestSkipped = "its request phase was skipped"
	requestOver    = "the policy has answered the request, or failed"
	engineStops    = "the engine stops"
	waitedForTurn  = "it waited for its turn longer than its timeout"
)

// Run is a shadow attachment beside one exchange. Its phases run one after the other.
type Run struct {
	attachment *Attachment
	released   func()
	users      atomic.Int32 // its tasks, and the exchange until it has ended

	mutex sync.Mutex
	busy  bool
	next  *Task // waits for the end of the present one

	// The state of the task that runs.
	noMore string // the reason that the response phase does not run; "": it runs
	over   bool   // the response phase is not reported
}

// NewRun makes the attachment's run beside an exchange, which releases it when no more phases begin. released is called
// when all phases have ended, too.
func NewRun(attachment *Attachment, released func()) *Run {
	r := &Run{attachment: attachment, released: released}
	r.users.Store(1)
	return r
}

// Release ends one use of the run.
func (r *Run) Release() {
	if r.users.Add(-1) == 0 {
		r.released()
	}
}

// Task is one phase of a run.
type Task struct {
	run      *Run
	phase    Phase
	request  bool            // it is the request phase
	ctx      context.Context //nolint:containedctx // of the hook
	expected *Effect         // of its counterpart; nil: no change
	waits    atomic.Int32
	queued   time.Time

	mutex sync.Mutex // guards skip until the task runs
	skip  string     // the reason that the task does not run; "": it runs
}

// Begin begins a phase, which runs in ctx once the caller has released the task. reason is why it cannot run; "": it can,
// if there is room.
func (r *Run) Begin(ctx context.Context, phase Phase, request bool, reason string) *Task {
	r.users.Add(1)
	t := &Task{run: r, phase: phase, request: request, ctx: ctx}
	t.waits.Store(1)
	switch turns := r.attachment.Turns; {
	case !r.attachment.Bounds.reserve():
		t.skip = noRoomAtAll
	case reason != "":
		t.skip = reason
	case turns.isFull():
		t.skip = turns.fullReason()
	}
	return t
}

// Skip has the task not run.
func (t *Task) Skip(reason string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.skip = reason
}

// IsSkipped reports whether it is known that the task does not run.
func (t *Task) IsSkipped() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.skip != ""
}

// Expect sets the effect that the phase is compared with; nil: no change.
func (t *Task) Expect(expected *Effect) { t.expected = expected }

// Release ends one of the task's waits: the caller's, or that for its body. After the last one the task is submitted.
func (t *Task) Release() {
	if t.waits.Add(-1) == 0 {
		t.queued = time.Now()
		t.run.submit(t)
	}
}

// submit runs the task once the one before has ended.
func (r *Run) submit(t *Task) {
	r.mutex.Lock()
	waits := r.busy
	if waits {
		r.next = t
	}
	r.busy = true
	r.mutex.Unlock()
	if !waits {
		r.start(t)
	}
}

func (r *Run) start(t *Task) {
	turns := r.attachment.Turns
	if t.skip == "" && r.noMore != "" {
		t.skip = r.noMore
	}
	if t.skip == "" && !turns.submit(t) {
		t.skip = turns.fullReason()
	}
	if t.skip != "" {
		r.skip(t)
	}
}

// skip ends a task that does not run.
func (r *Run) skip(t *Task) {
	if t.request {
		r.noMore = requestSkipped
	}
	report := Report{Outcome: Skipped, Reason: t.skip}
	if r.over {
		report.Outcome = None
	}
	r.end(t, report)
}

// execute runs a task in its turn.
func (t *Task) execute() {
	r := t.run
	if time.Since(t.queued) > r.attachment.Timeout {
		t.skip = waitedForTurn
		r.skip(t)
		return
	}
	var report Report
	defer func() {
		if cause := recover(); cause != nil {
			report = Report{Outcome: Failed, Panic: v1alpha.Failf(v1alpha.ClassException, "panic: %v", cause)}
		}
		r.end(t, report)
	}()
	result := t.phase.Perform(t.ctx)
	report = t.compare(&result)
	switch {
	case report.Outcome == Skipped:
		r.noMore = requestSkipped
	case t.request && result.Over:
		r.noMore, r.over = requestOver, true
	}
}

// compare returns the outcome. An execution for which there was no room is skipped.
func (t *Task) compare(result *Result) Report {
	expected := t.expected
	if expected == nil {
		expected = &result.Before
	}
	switch failure := result.Failure; {
	case failure != nil && t.ctx.Err() != nil:
		return Report{Outcome: Skipped, Reason: engineStops}
	case failure != nil && failure.Class == v1alpha.ClassOverloaded:
		return Report{Outcome: Skipped, Reason: failure.Message}
	case failure != nil:
		return Report{Outcome: Failed}
	case result.After.same(expected, result.Body):
		return Report{Outcome: Same}
	default:
		return Report{Outcome: Different}
	}
}

// end reports a task that has ended, and runs the next one.
func (r *Run) end(t *Task, report Report) {
	t.phase.Ended(report)
	r.mutex.Lock()
	next := r.next
	r.next, r.busy = nil, next != nil
	r.mutex.Unlock()
	if next != nil {
		r.start(next)
	}
	bounds := r.attachment.Bounds
	r.Release()
	bounds.release()
}
