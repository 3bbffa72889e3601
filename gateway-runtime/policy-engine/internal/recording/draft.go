package recording

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// draft is an exchange under way that may be recorded. It is the exchange's Watcher.
type draft struct {
	recorder   *Recorder
	settings   *settings
	candidates []*Recording // recordings whose filter the exchange matches so far
	began      time.Time
	opening    exchange.Opening
	head       chain.Head
	chain      *chain.Chain // nil: none
	traceID    string       // hex; empty: the exchange is not traced

	mutex      sync.Mutex
	charged    int64 // bytes of the recorder's memory
	executions []executionDraft
	held       [2]*content // the last snapshots of bodies, by direction
	passed     [2][2]flow  // bodies, by direction and side
	trailers   [2][2]v1alpha.Headers
	heads      [2][2]*headDraft // nil: none; the client's request is head
	metadata   *v1alpha.ExchangeMetadata
	analytics  map[string]any
	proxy      *proxyanswer.Answer // the proxy's own response; nil: the proxy has not answered

	shadows int                // begun and not ended
	places  int                // late executions whose process has yet to report the place of the failure
	ended   *exchange.Exchange // nil: under way
	lasted  time.Duration
}

// headDraft is a message without its body.
type headDraft struct {
	at   time.Duration
	view chain.View // without bodies, Metadata and Analytics, which are only valid during the call
	body *content   // sent together with the head
}

// executionDraft is an execution, under way or ended.
type executionDraft struct {
	turn       chain.Turn
	began      time.Duration
	took       time.Duration
	before     *snapshot // nil: the execution has ended
	execution  chain.Execution
	changes    []change
	in, out    int64 // bytes of a stream
	isStream   bool
	unfinished bool
	shadow     *chain.Shadow // without views; nil: not a shadow
	skipped    string        // the condition by which the policy does not apply; "": it does
}

// The memory that a draft is charged for, beside the bytes of bodies; an estimate.
const (
	draftSize     = 4 << 10
	executionSize = 512
	changeSize    = 256
)

func (d *draft) since() time.Duration { return time.Since(d.began) }

// charge reserves memory for the draft; false: there is none left.
func (d *draft) charge(bytes int64) bool {
	if !d.recorder.memory.reserve(bytes) {
		return false
	}
	d.charged += bytes
	return true
}

// ---------------------------------------------------------------- chain.Watcher

// ExecutionBegan takes a snapshot of what the policy receives.
func (d *draft) ExecutionBegan(ctx context.Context, turn chain.Turn, seen chain.View) context.Context {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.charge(executionSize) {
		return ctx
	}
	before := d.snapshotOf(&seen)
	d.metadata = seen.Metadata
	d.executions = append(d.executions, executionDraft{turn: turn, began: d.since(), before: &before, unfinished: true,
		isStream: turn.Phase == chain.PhaseRequestStream || turn.Phase == chain.PhaseResponseStream})
	return ctx
}

// find returns the execution of the turn; nil if there was no memory for it.
func (d *draft) find(turn chain.Turn) *executionDraft {
	for n := len(d.executions) - 1; n >= 0; n-- {
		if d.executions[n].turn == turn {
			return &d.executions[n]
		}
	}
	return nil
}

// ExecutionEnded records what the policy has changed.
func (d *draft) ExecutionEnded(turn chain.Turn, execution chain.Execution, left chain.View) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	x := d.find(turn)
	if x == nil || x.before == nil {
		return
	}
	before, after := x.before, d.snapshotOf(&left)
	if x.isStream {
		before, after = streamSnapshots(before, &after, &left)
	}
	answers := execution.Answered && execution.Failure == nil
	if execution.Failure != nil && !execution.Continued { // the response comes from the failure, not from the policy
		after = withMetadataOf(before, &after)
	}
	x.took, x.execution, x.before, x.unfinished = d.since()-x.began, execution, nil, false
	x.changes = diff(before, &after, answers)
	d.charged += d.recorder.memory.force(changeSize * int64(len(x.changes)))
	if execution.Failure != nil {
		d.awaitPlace(turn, execution.Failure)
	}
}

// withMetadataOf returns before with the metadata of after, since the metadata that a failed policy has written stays.
func withMetadataOf(before, after *snapshot) snapshot {
	s := *before
	s.metadata = after.metadata
	return s
}

// streamSnapshots returns the snapshots around a stream, which changes the body, the trailers, the metadata and the analytics alone,
// or answers. The view at its end has the analytics that it leaves, and not those of others.
func streamSnapshots(before, after *snapshot, left *chain.View) (*snapshot, snapshot) {
	b := snapshot{metadata: before.metadata, analytics: before.analytics, trailers: left.TrailersSeen}
	a := *after
	a.trailers, a.analytics = left.Trailers, maps.Clone(before.analytics)
	if a.analytics == nil {
		a.analytics = after.analytics
	} else {
		maps.Copy(a.analytics, after.analytics)
	}
	return &b, a
}

// ShadowBegan delays the recording until the shadow ends.
func (d *draft) ShadowBegan(ctx context.Context, turn chain.Turn) context.Context {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.shadows++
	if d.charge(executionSize) {
		d.executions = append(d.executions, executionDraft{turn: turn, began: d.since(), shadow: &chain.Shadow{}})
	}
	return ctx
}

// ShadowEnded records what the policy would have changed. If the exchange has ended, its last shadow
// completes the recording.
func (d *draft) ShadowEnded(turn chain.Turn, shadow chain.Shadow) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if x := d.find(turn); x != nil {
		d.addShadow(x, &shadow)
	}
	d.shadows--
	d.finishWhenDone()
}

func (d *draft) addShadow(x *executionDraft, shadow *chain.Shadow) {
	execution := shadow.Execution
	switch execution.Shadow {
	case chain.NotShadow:
		d.executions = slices.DeleteFunc(d.executions, func(e executionDraft) bool { return e.turn == x.turn })
		return
	case chain.ShadowSame, chain.ShadowDifferent:
		before, after := d.snapshotOf(&shadow.Seen), d.snapshotOf(&shadow.Left)
		x.changes = diff(&before, &after, execution.Answered)
		d.charged += d.recorder.memory.force(changeSize * int64(len(x.changes)))
	}
	shadow.Seen, shadow.Left = chain.View{}, chain.View{}
	x.took, x.execution, x.shadow = execution.Duration, execution, shadow
}

// ExecutionSkipped records that the policy does not apply.
func (d *draft) ExecutionSkipped(turn chain.Turn, condition string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.charge(executionSize) {
		d.executions = append(d.executions, executionDraft{turn: turn, began: d.since(), skipped: condition})
	}
}

// StreamChunk counts the bytes of a stream.
func (d *draft) StreamChunk(turn chain.Turn, side chain.Side, chunk []byte) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	switch x := d.find(turn); {
	case x == nil:
	case side == chain.Came:
		x.in += int64(len(chunk))
	default:
		x.out += int64(len(chunk))
	}
}

// MessageHead records a message's head.
func (d *draft) MessageHead(direction chain.Direction, side chain.Side, message chain.View) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	body := &message.RequestBody
	if direction == chain.Response {
		body = &message.ResponseBody
	}
	head := &headDraft{at: d.since(), body: d.contentOf(direction, body)}
	d.addAnalytics(message.Analytics)
	if message.Metadata != nil {
		d.metadata = message.Metadata
	}
	message.RequestBody, message.ResponseBody, message.Metadata, message.Analytics = chain.BodyView{}, chain.BodyView{}, nil, nil
	head.view = message
	d.heads[direction][side] = head
}

// ProxyAnswered records the proxy's own answer.
func (d *draft) ProxyAnswered(answer proxyanswer.Answer) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.proxy = &answer
}

// MessagePiece records the beginning of a body.
func (d *draft) MessagePiece(direction chain.Direction, side chain.Side, piece []byte) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.add(&d.passed[direction][side], piece)
}

// MessageRest records that more of the body follows.
func (d *draft) MessageRest(direction chain.Direction) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.passed[direction][chain.Came].rest, d.passed[direction][chain.Left].rest = true, true
}

// MessageTrailers records trailers.
func (d *draft) MessageTrailers(direction chain.Direction, side chain.Side, trailers v1alpha.Headers) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.trailers[direction][side] = trailers
}

// MessageAnalytics records the analytics that streams have left.
func (d *draft) MessageAnalytics(_ chain.Direction, analytics map[string]any) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.addAnalytics(analytics)
}

func (d *draft) addAnalytics(analytics map[string]any) {
	if d.analytics == nil {
		d.analytics = maps.Clone(analytics)
	} else {
		maps.Copy(d.analytics, analytics)
	}
}

// ExchangeEnded records the exchange, at once or when its shadows have ended.
func (d *draft) ExchangeEnded(ended exchange.Exchange) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.ended, d.lasted = &ended, d.since()
	d.finishWhenDone()
}

// finishWhenDone records an exchange that has ended and waits for nothing more.
func (d *draft) finishWhenDone() {
	if d.ended != nil && d.shadows == 0 && d.places == 0 {
		d.finish()
	}
}

// finish records the exchange if it matches a recording.
func (d *draft) finish() {
	ended := *d.ended
	defer func() { d.recorder.memory.release(d.charged) }()
	end := d.ending(ended)
	matching := d.candidates[:0]
	for _, recording := range d.candidates {
		if recording.filter.fitsEnd(&end) {
			matching = append(matching, recording)
		}
	}
	if len(matching) == 0 {
		return
	}
	text, err := d.toExchange(ended).encode()
	if err != nil {
		d.recorder.log.Error("an exchange was not recorded", "requestId", d.opening.RequestID, "error", err.Error())
		return
	}
	d.recorder.record(d.opening.RequestID, text, matching)
}

// ending returns the values that filters compare at an exchange's end.
func (d *draft) ending(ended exchange.Exchange) (e ending) {
	if head := d.heads[chain.Response][chain.Left]; head != nil {
		e.status = head.view.Status
	}
	e.failed = ended.Result == chain.Failed || e.status >= 500 || d.proxy != nil && proxyanswer.Explain(d.proxy).Party == proxyanswer.Upstream
	for n := range d.executions {
		if x := &d.executions[n]; x.shadow != nil {
			e.shadows = append(e.shadows, x.execution.Shadow.String())
		} else {
			e.failed = e.failed || x.execution.Failure != nil
		}
	}
	return e
}

// ---------------------------------------------------------------- the recorded form

const (
	outcomeCompleted = "completed"
	outcomeCancelled = "cancelled"
	outcomeFailed    = "failed"
)

var outcomes = map[chain.Result]string{
	chain.Completed: outcomeCompleted, chain.Cancelled: outcomeCancelled, chain.Failed: outcomeFailed,
}

// toExchange returns the exchange in its recorded form, without secrets.
func (d *draft) toExchange(ended exchange.Exchange) *Exchange {
	s := shower{list: d.settings.list, values: d.recorder.options.Values, harmless: &d.settings.harmless, bodyBytes: d.settings.bodyBytes}
	e := &Exchange{
		Version: formatVersion, ID: d.opening.RequestID, Node: d.recorder.options.Node, StartedAt: d.began,
		DurationMs: milliseconds(d.lasted), Chain: d.opening.ChainID, Outcome: outcomes[ended.Result],
		TraceID: cmp.Or(d.traceID, traceID(d.head.Headers)),
	}
	d.setRoute(e)
	if ended.Err != nil {
		e.Error = s.text(firstLine(ended.Err.Error()))
	}
	if d.head.ClientAddress != "" || d.head.Peer != nil {
		e.Client = &Client{Address: d.head.ClientAddress, Peer: d.head.Peer}
	}
	if d.opening.Refusal == 0 {
		e.Request = d.request(&s)
	}
	e.Forwarded = d.message(&s, chain.Request, chain.Left)
	e.Upstream = d.message(&s, chain.Response, chain.Came)
	e.Response = d.message(&s, chain.Response, chain.Left)
	d.setAnsweredBy(&s, e)
	e.Executions = make([]Execution, len(d.executions))
	for n := range d.executions {
		e.Executions[n] = d.executions[n].toExecution(&s)
	}
	if d.metadata != nil {
		text, _ := d.metadata.JSON()
		e.Metadata = s.fields(parseObject(text))
	}
	e.Analytics = s.fields(d.analytics)
	e.Redacted = s.redacted
	return e
}

// setRoute sets the API, the operation and the policies.
func (d *draft) setRoute(e *Exchange) {
	if c := d.chain; c != nil {
		e.API, e.APIVersion, e.Context, e.Operation = c.API(), c.APIVersion(), c.Context(), c.Operation()
		e.LoosePaths = !c.StrictPaths()
		for _, path := range c.UpstreamPaths() {
			e.UpstreamPaths = append(e.UpstreamPaths, UpstreamPath(path))
		}
		for _, instance := range c.Instances() {
			e.Policies = append(e.Policies, instance.Name())
		}
		return
	}
	e.API, e.Operation, _ = exchange.RouteParts(d.opening.Route)
}

// ownAnswer is Envoy's response code detail for answers of operations' own. The engine gives them where operations share a route.
const ownAnswer = "direct_response"

// setAnsweredBy sets the origin of the answer.
func (d *draft) setAnsweredBy(s *shower, e *Exchange) {
	d.setCause(s, e)
	left := d.heads[chain.Response][chain.Left]
	switch {
	case left == nil:
	case !left.view.Answered && e.Cause != nil:
		e.AnsweredBy = ByProxy
	case !left.view.Answered:
		e.AnsweredBy = ByUpstream
	case left.view.Details == ownAnswer:
		e.Details, e.AnsweredBy = ownAnswer, ByProxy
	default:
		e.Details, e.AnsweredBy = left.view.Details, ByGateway
		if left.view.Details == "policy_answer" {
			e.AnsweredBy = ByPolicy
		} else if strings.HasPrefix(left.view.Details, "policy_") {
			e.AnsweredBy = ByFailure
		}
	}
}

// setCause explains the proxy's own answer, if there is one: before the request went on, or in the upstream's place.
func (d *draft) setCause(s *shower, e *Exchange) {
	left := d.heads[chain.Response][chain.Left]
	answer := d.proxy
	switch {
	case answer != nil:
		e.Details = answer.Details
	case left != nil && left.view.Answered && left.view.Details == ownAnswer:
		answer = &proxyanswer.Answer{Status: left.view.Status, Details: ownAnswer}
	case left != nil && !left.view.Answered && d.heads[chain.Request][chain.Left] == nil:
		answer = &proxyanswer.Answer{Status: left.view.Status}
	default:
		return
	}
	answer.API, answer.Operation, answer.Method = e.API, e.Operation, d.head.Method
	answer.Authority = d.head.Authority
	answer.Path, _, _ = strings.Cut(d.head.Path, "?")
	e.Cause = s.cause(proxyanswer.Explain(answer))
}

// request returns the client's request.
func (d *draft) request(s *shower) *Message {
	path, query, _ := strings.Cut(d.head.Path, "?")
	m := &Message{Method: d.head.Method, Scheme: d.head.Scheme, Authority: d.head.Authority, Path: s.text(path), Query: s.query(query),
		Headers: s.headers(d.head.Headers)}
	m.Body = s.flow(&d.passed[chain.Request][chain.Came], d.head.Headers)
	m.Trailers = s.headers(d.trailers[chain.Request][chain.Came])
	return m
}

// message returns any other message; nil: there was none.
func (d *draft) message(s *shower, direction chain.Direction, side chain.Side) *Message {
	head := d.heads[direction][side]
	if head == nil {
		return nil
	}
	v := &head.view
	m := &Message{AtMs: milliseconds(head.at), EndMs: milliseconds(d.passed[direction][side].last)}
	headers := v.ResponseHeaders
	if direction == chain.Request {
		headers = v.RequestHeaders
		m.Method, m.Scheme, m.Authority, m.Upstream = v.Method, d.head.Scheme, v.Authority, v.Upstream
		m.Path, m.Query = s.text(v.Path), s.query(v.Query)
	} else {
		m.Status = v.Status
	}
	m.Headers, m.Trailers = s.headers(headers), s.headers(d.trailers[direction][side])
	if m.Body = s.flow(&d.passed[direction][side], headers); m.Body == nil {
		m.Body = s.content(head.body, headers)
	}
	return m
}

// toExecution returns the execution in its recorded form.
func (x *executionDraft) toExecution(s *shower) Execution {
	e := Execution{Index: x.turn.Index, Policy: x.turn.Policy, Phase: x.turn.Phase, StartedMs: milliseconds(x.began),
		DurationMs: milliseconds(x.took), Outcome: x.outcome()}
	if x.skipped != "" {
		e.When = s.text(x.skipped)
	}
	if x.execution.Work > 0 {
		work := milliseconds(x.execution.Work)
		e.WorkMs = &work
	}
	if failure := x.execution.Failure; failure != nil {
		e.Failure = &Failure{Class: failure.Class, Message: s.text(failure.Message), File: failure.File, Line: failure.Line}
	}
	if x.isStream {
		e.Stream = &Stream{BytesIn: x.in, BytesOut: x.out}
		if !x.unfinished && x.shadow == nil {
			chunks := milliseconds(max(0, x.took-max(x.execution.Duration, x.execution.Work)))
			e.ChunksMs = &chunks
		}
	}
	for n := range x.changes {
		e.Changes = append(e.Changes, s.change(&x.changes[n]))
	}
	if x.shadow != nil {
		x.showShadow(s, &e)
	}
	return e
}

func (x *executionDraft) showShadow(s *shower, e *Execution) {
	e.Shadow, e.Reason = true, s.text(x.shadow.Reason)
	if at := x.shadow.ComparedWith; at >= 0 {
		e.ComparedWith = &at
	}
	switch outcome := x.execution.Shadow; outcome {
	case chain.ShadowSame, chain.ShadowDifferent:
		e.Comparison = outcome.String()
	case chain.ShadowSkipped:
		e.Outcome = outcome.String()
	}
}

func (x *executionDraft) outcome() string {
	switch {
	case x.skipped != "":
		return "skipped"
	case x.unfinished || x.execution.Cancelled:
		return "cancelled"
	case x.execution.Continued:
		return "continued"
	case x.execution.Failure != nil:
		return "failed"
	case x.execution.Answered:
		return "answered"
	case len(x.changes) > 0 || x.isStream && x.in != x.out:
		return "changed"
	}
	return "unchanged"
}

// WantsResponse has the response's headers sent to the engine for any chain: filters compare the status.
func (d *draft) WantsResponse() {}

// SetTrace sets the exchange's trace.
func (d *draft) SetTrace(trace *exchange.Trace) { d.traceID = hex.EncodeToString(trace.ID[:]) }

// traceID returns the trace id of the request's traceparent (W3C Trace Context), "" without one.
func traceID(headers v1alpha.Headers) string {
	parts := strings.Split(headers.Get("traceparent"), "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}

// firstLine cuts off further lines, such as the stack of a panic.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
