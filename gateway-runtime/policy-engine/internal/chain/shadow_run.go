package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// shadowed is the state of the shadow attachments that run beside an exchange.
type shadowed struct {
	runs     []*shadowRun
	prepared []*shadowTask // compared with the effect of the execution under way
}

// shadowRun is a shadow attachment beside one exchange. Its phases run one after the other.
type shadowRun struct {
	shadow  *shadow
	chain   *Chain
	watcher Watcher      // nil: the exchange is not watched
	users   atomic.Int32 // its tasks, and the exchange until it has ended

	mutex sync.Mutex
	busy  bool
	next  *shadowTask // waits for the end of the present one

	asked    bool   // the condition has been evaluated: once, the result holds for the response too
	passedBy bool   // the condition was false
	unknown  string // the reason that the condition could not be evaluated; "": it could

	// The state of the task that runs.
	exchange exchange // the copy to which the action is applied
	noMore   string   // the reason that the response phase does not run; "": it runs
	dropped  bool     // the response phase is not reported
	set      map[string]json.RawMessage
	removed  []string // the request phase's changes of the metadata
}

// shadowTask is one execution of a shadow attachment.
type shadowTask struct {
	run      *shadowRun
	phase    string
	ctx      context.Context //nolint:containedctx // of the hook
	captured captured
	expected *effect // the effect of its counterpart; nil: no change
	waits    atomic.Int32
	queued   time.Duration

	mutex sync.Mutex // guards skip until the task runs
	skip  string     // the reason that the task does not run; "": it runs
}

// captured is the state of an exchange at a place in the chain.
type captured struct {
	method, path, query, authority, upstream string
	request, response                        message // with a copy of the body that the policy reads
	sent                                     *v1alpha.RequestContext
	answered                                 bool
	status                                   int
	details                                  string
	grpcStatus                               uint32
	analytics                                map[string]any
	metadata                                 []byte // JSON
}

// ---------------------------------------------------------------- in the exchange's goroutine

// runShadows runs the shadow attachments of a step that has no execution of its own in this phase.
//
//go:noinline
func (x *exchange) runShadows(ctx context.Context, step *step, phase string) {
	for n := range step.shadows {
		if s := &step.shadows[n]; s.hasHook(phase) && x.shadowApplies(s) {
			x.newTask(ctx, s, phase).release()
		}
	}
}

// prepareShadows captures the input of the execution under way for its shadow attachments.
//
//go:noinline
func (x *exchange) prepareShadows(ctx context.Context) {
	r := &x.running
	for n := range r.step.shadows {
		if s := &r.step.shadows[n]; s.hasHook(r.Phase) && x.shadowApplies(s) {
			task := x.newTask(ctx, s, r.Phase)
			x.shadowed.prepared = append(x.shadowed.prepared, task)
		}
	}
}

// startShadows runs the prepared tasks, now that the effect to compare them with is known.
//
//go:noinline
func (x *exchange) startShadows() {
	if x.shadowed == nil || len(x.shadowed.prepared) == 0 {
		return
	}
	effect := x.effect(x.running.Phase)
	for _, task := range x.shadowed.prepared {
		task.expected = &effect
		if x.running.Cancelled {
			task.skipBecause(noOther)
		}
		task.release()
	}
	x.shadowed.prepared = nil
}

// endShadows ends the exchange's use of its shadow runs: no more tasks come.
//
//go:noinline
func (x *exchange) endShadows() {
	for _, run := range x.shadowed.runs {
		run.release()
	}
}

// shadowApplies evaluates the condition of a shadow attachment. If that fails, the exchange goes on, and the shadow is
// reported as skipped, with the reason.
func (x *exchange) shadowApplies(s *shadow) bool {
	when := s.settings.When
	if when == nil {
		return true
	}
	run := x.runOf(s)
	if !run.asked {
		applies, err := when.Applies(x.requestContext())
		if run.asked, run.passedBy = true, err == nil && !applies; err != nil {
			run.unknown = fmt.Sprintf("when: %v, in %s", err, when.Text())
		}
	}
	return !run.passedBy
}

func (x *exchange) newTask(ctx context.Context, s *shadow, phase string) *shadowTask {
	run, all := x.runOf(s), x.chain.spec.Shadows
	run.users.Add(1)
	task := &shadowTask{run: run, phase: phase, ctx: all.ctx}
	task.waits.Store(1)
	if run.watcher != nil {
		task.ctx = run.watcher.ShadowBegan(task.ctx, task.turn())
	}
	switch {
	case !all.reserve():
		task.skip = noRoomAtAll
	case run.unknown != "":
		task.skip = run.unknown
	case s.turns.isFull():
		task.skip = s.turns.fullReason()
	default:
		task.capture(ctx, x)
	}
	return task
}

func (t *shadowTask) turn() Turn {
	return Turn{Index: t.run.shadow.index, Phase: t.phase, Policy: t.run.shadow.name}
}

// runOf returns the exchange's run of the shadow attachment.
func (x *exchange) runOf(s *shadow) *shadowRun {
	if x.shadowed == nil {
		x.shadowed = &shadowed{}
	}
	for _, run := range x.shadowed.runs {
		if run.shadow == s {
			return run
		}
	}
	x.chain.use.active.Add(1) // until the run ends
	run := &shadowRun{shadow: s, chain: x.chain, exchange: exchange{chain: x.chain.shadowChain, head: x.head, grpc: x.grpc, pathParams: x.pathParams}}
	if x.watched != nil {
		run.watcher = x.watched.Watcher
	}
	run.users.Store(1)
	x.shadowed.runs = append(x.shadowed.runs, run)
	return run
}

// capture keeps the policy's input. ctx is the exchange's: if it ends first, the body does not come.
func (t *shadowTask) capture(ctx context.Context, x *exchange) {
	c := &t.captured
	c.method, c.path, c.query, c.authority, c.upstream = x.method, x.path, x.query, x.authority, x.upstream
	c.analytics = maps.Clone(x.analytics)
	c.metadata, _ = x.metadata.JSON() // metadata that cannot be written is not seen
	from, to := &x.request, &c.request
	if t.phase == PhaseRequest {
		c.request = x.request.withoutBody(x.chain.shadowChain)
	} else {
		c.request = message{direction: Request, headers: x.request.headers.clone(), ended: true} // its body may be on its way still
		c.response, c.answered, c.status, c.details, c.grpcStatus = x.response.withoutBody(x.chain.shadowChain), x.answered, x.status, x.details, x.grpcStatus
		if x.sent == nil {
			x.sent = x.requestContext()
		}
		c.sent = x.sent
		from, to = &x.response, &c.response
	}
	if t.run.shadow.buffers(t.phase) {
		t.copyBody(ctx, x, from, to)
	}
}

// withoutBody is a copy of the message that shares no mutable state.
func (m *message) withoutBody(shadowChain *Chain) message {
	return message{
		direction: m.direction, headers: m.headers.clone(), delivered: m.delivered, bodiless: m.bodiless, declared: m.declared, status: m.status,
		hasBody: m.hasBody, ended: m.ended, body: body{budget: shadowChain.spec.Bodies},
	}
}

// skipBecause marks the task as skipped.
func (t *shadowTask) skipBecause(reason string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.skip = reason
}

// clone is a list that shares the headers: changes of one list do not show in the other.
func (l *headerList) clone() headerList {
	return headerList{original: l.original, view: l.view, touched: slices.Clip(l.touched)}
}

// release ends one of the task's waits: for its body, or for the effect to compare it with. After the last one the task
// is submitted.
func (t *shadowTask) release() {
	if t.waits.Add(-1) == 0 {
		t.queued = Now()
		t.run.submit(t)
	}
}

// ---------------------------------------------------------------- in any goroutine

// submit runs the task once the one before has ended.
func (r *shadowRun) submit(task *shadowTask) {
	r.mutex.Lock()
	waits := r.busy
	if waits {
		r.next = task
	}
	r.busy = true
	r.mutex.Unlock()
	if !waits {
		r.begin(task)
	}
}

func (r *shadowRun) begin(task *shadowTask) {
	if task.skip == "" && r.noMore != "" {
		task.skip = r.noMore
	}
	if task.skip == "" && !r.shadow.turns.submit(task) {
		task.skip = r.shadow.turns.fullReason()
	}
	if task.skip != "" {
		r.skip(task)
	}
}

// skip ends a task that does not run.
func (r *shadowRun) skip(task *shadowTask) {
	if task.phase == PhaseRequest {
		r.noMore = requestSkipped
	}
	task.captured.request.dropAll()
	task.captured.response.dropAll()
	report := Shadow{ComparedWith: r.shadow.comparedWith, Reason: task.skip}
	if !r.dropped {
		report.Execution = task.skipped()
	}
	r.end(task, &report)
}

// end reports a task that has ended, and runs the next one.
func (r *shadowRun) end(task *shadowTask, report *Shadow) {
	if report.Execution.Shadow != NotShadow {
		r.shadow.observer.Began()
		r.shadow.observer.Ended(report.Execution)
	}
	if r.watcher != nil {
		r.watcher.ShadowEnded(task.turn(), *report)
	}
	r.exchange.request.dropAll()
	r.exchange.response.dropAll()
	r.mutex.Lock()
	next := r.next
	r.next, r.busy = nil, next != nil
	r.mutex.Unlock()
	if next != nil {
		r.begin(next)
	}
	all := r.chain.spec.Shadows
	r.release()
	all.release()
}

// release ends one use of the run; the last one releases the chain.
func (r *shadowRun) release() {
	if r.users.Add(-1) == 0 {
		r.exchange.metadata.End()
		r.chain.Release()
	}
}

// ---------------------------------------------------------------- the execution

// execute runs the policy on the copy, and applies its action there.
func (r *shadowRun) execute(task *shadowTask) {
	if Now()-task.queued > r.shadow.settings.Timeout {
		task.skip = waitedForTurn
		r.skip(task)
		return
	}
	report := Shadow{ComparedWith: r.shadow.comparedWith}
	defer func() {
		if cause := recover(); cause != nil {
			report.Execution.Failure, report.Execution.Shadow = v1alpha.Failf(v1alpha.ClassException, "panic: %v", cause), ShadowFailed
		}
		r.end(task, &report)
	}()
	r.perform(task, &report)
	if task.skip != "" {
		report.Reason, report.Seen, report.Left = task.skip, View{}, View{}
		report.Execution = task.skipped()
		r.noMore, r.dropped = requestSkipped, false
	}
}

// skipped is the execution of a skipped task.
func (t *shadowTask) skipped() Execution {
	return Execution{RequestID: t.run.exchange.head.RequestID, Phase: t.phase, Cancelled: true, Shadow: ShadowSkipped}
}

func (r *shadowRun) perform(task *shadowTask, report *Shadow) {
	x := &r.exchange
	r.restore(&task.captured)
	if task.phase == PhaseResponse && refusesEncoded(r.shadow.settings.Mode) {
		x.response.decodeFor(r.shadow.Instance)
	}
	x.running = running{step: &step{Instance: r.shadow.Instance}, began: Now()}
	x.running.RequestID, x.running.Phase, x.running.Remote = x.head.RequestID, task.phase, r.shadow.measured != nil
	before, requestPhase := x.effect(task.phase), task.phase == PhaseRequest
	held := x.messageOf(task.phase).body.pieces
	if r.watcher != nil {
		report.Seen = r.seen(requestPhase, before.metadata)
	}
	failure := x.performPhase(task.ctx, requestPhase)
	x.running.Duration = Now() - x.running.began
	if !x.running.Remote {
		x.running.Work = x.running.Duration
	}
	x.running.Failure = failure
	after := x.effect(task.phase)
	report.Execution = x.running.Execution
	report.Execution.Shadow = task.outcome(failure, &before, &after, held)
	if r.watcher != nil {
		report.Left = x.view(requestPhase)
	}
	if requestPhase {
		r.recordRequest(failure, before.metadata, after.metadata)
	}
}

func (x *exchange) messageOf(phase string) *message {
	if phase == PhaseRequest {
		return &x.request
	}
	return &x.response
}

func (x *exchange) performPhase(ctx context.Context, requestPhase bool) *v1alpha.Failure {
	instance := x.running.step.Instance
	if requestPhase {
		action, failure := x.onRequest(ctx, instance)
		if failure == nil {
			failure = x.applyRequest(action)
		}
		return failure
	}
	action, failure := x.onResponse(ctx, instance)
	if failure == nil {
		failure = x.applyResponse(action)
	}
	return failure
}

// outcome compares the effects. An execution that did not fit is skipped.
func (t *shadowTask) outcome(failure *v1alpha.Failure, before, after *effect, held [][]byte) ShadowOutcome {
	expected := t.expected
	if expected == nil {
		expected = before
	}
	switch {
	case failure != nil && t.ctx.Err() != nil:
		t.skip = engineStops
	case failure != nil && failure.Class == v1alpha.ClassOverloaded:
		t.skip = failure.Message
	case failure != nil:
		return ShadowFailed
	case after.same(expected, held):
		return ShadowSame
	default:
		return ShadowDifferent
	}
	return ShadowSkipped
}

// restore sets the copy to the captured state, with the metadata that the policy has written in the phase before.
func (r *shadowRun) restore(c *captured) {
	x := &r.exchange
	x.method, x.path, x.query, x.authority, x.upstream = c.method, c.path, c.query, c.authority, c.upstream
	x.request, x.response, x.analytics = c.request, c.response, c.analytics
	x.answered, x.status, x.details, x.grpcStatus = c.answered, c.status, c.details, c.grpcStatus
	if c.sent != nil {
		sent := *c.sent
		sent.Metadata = &x.metadata
		x.sent = &sent
	}
	now, _ := x.metadata.JSON()
	_ = x.metadata.Merge(c.metadata, slices.Collect(maps.Keys(fieldsOf(now)))) // ExchangeMetadata.JSON wrote it
	own, err := json.Marshal(r.set)
	if err == nil && len(r.set)+len(r.removed) > 0 {
		_ = x.metadata.Merge(own, r.removed)
	}
}

// recordRequest keeps the request phase's results for the response phase.
func (r *shadowRun) recordRequest(failure *v1alpha.Failure, before, after []byte) {
	goesOn := failure == nil || r.shadow.settings.OnError.For(failure.Class) == Continue
	if !goesOn || r.exchange.answered {
		r.noMore, r.dropped = "the policy has answered the request, or failed", true
	}
	if bytes.Equal(before, after) {
		return
	}
	was, is := fieldsOf(before), fieldsOf(after)
	for name := range was {
		if _, kept := is[name]; !kept {
			r.removed = append(r.removed, name)
		}
	}
	r.set = is
	maps.DeleteFunc(r.set, func(name string, value json.RawMessage) bool { return bytes.Equal(value, was[name]) })
}

func fieldsOf(object []byte) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if len(object) > 0 {
		if err := json.Unmarshal(object, &fields); err != nil {
			panic(fmt.Sprintf("metadata is an object: %v", err))
		}
	}
	return fields
}

// seen is the view of the copy before the policy changes it.
func (r *shadowRun) seen(requestPhase bool, metadata []byte) View {
	seen := r.exchange.view(requestPhase)
	seen.Analytics = maps.Clone(seen.Analytics)
	seen.Metadata = &v1alpha.ExchangeMetadata{}
	_ = seen.Metadata.Merge(metadata, nil) // ExchangeMetadata.JSON wrote it
	return seen
}
