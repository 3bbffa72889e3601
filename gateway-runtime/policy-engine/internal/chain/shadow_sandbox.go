package chain

import (
	"context"
	"fmt"
	"maps"

	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

// sandbox is a shadow attachment beside one exchange, with a copy of the exchange, to which the policy's actions are
// applied by the functions that apply them elsewhere. It does not know the exchange itself.
type sandbox struct {
	attachment *shadowAttachment
	run        *shadow.Run
	chain      *Chain
	watcher    Watcher // nil: the exchange is not watched

	asked    bool   // the condition has been evaluated: once, the result holds for the response too
	passedBy bool   // the condition was false
	unknown  string // the reason that the condition could not be evaluated; "": it could

	copy exchange // in the phase that runs
	own  shadow.Metadata
}

// sandboxPhase is one phase in a sandbox.
type sandboxPhase struct {
	*sandbox
	phase     string
	captured  captured
	execution Execution
	seen      View
	left      View
}

// captured is the state of an exchange at a place in the chain, with a copy of the body that the policy reads.
type captured struct {
	state
	metadata []byte // JSON
}

// evaluate evaluates the attachment's condition. If that fails, the exchange goes on, and the shadow is reported as
// skipped, with the reason.
func (s *sandbox) evaluate(request *v1alpha.RequestContext) {
	when := s.attachment.settings.When
	applies, err := when.Applies(request)
	if s.asked, s.passedBy = true, err == nil && !applies; err != nil {
		s.unknown = fmt.Sprintf("when: %v, in %s", err, when.Text())
	}
}

// begin begins a phase, which the caller releases once it has captured the exchange's state.
func (s *sandbox) begin(phase *sandboxPhase) *shadow.Task {
	ctx := s.attachment.Bounds.Context()
	if s.watcher != nil {
		ctx = s.watcher.ShadowBegan(ctx, phase.turn())
	}
	return s.run.Begin(ctx, phase, phase.isRequest(), s.unknown)
}

// release ends the sandbox. It has held its chain.
func (s *sandbox) release() {
	s.copy.metadata.End()
	s.chain.Release()
}

func (p *sandboxPhase) isRequest() bool { return p.phase == PhaseRequest }

func (p *sandboxPhase) turn() Turn {
	return Turn{Index: p.attachment.index, Phase: p.phase, Policy: p.attachment.name}
}

// ---------------------------------------------------------------- shadow.Phase

// Perform runs the policy on the copy, and applies its action there.
func (p *sandboxPhase) Perform(ctx context.Context) shadow.Result {
	x, instance := &p.copy, p.attachment.Instance
	p.restore()
	if !p.isRequest() && refusesEncoded(instance.settings.Mode) {
		x.response.decodeFor(instance)
	}
	x.running = running{step: &step{Instance: instance}, began: Now()}
	x.running.RequestID, x.running.Phase, x.running.Remote = x.head.RequestID, p.phase, instance.measured != nil
	result := shadow.Result{Before: x.effect(&x.running, &x.metadata), Body: x.messageOf(p.phase).body.pieces}
	if p.watcher != nil {
		p.recordSeen(result.Before.Metadata)
	}
	result.Failure = p.apply(ctx)
	x.running.Failure, x.running.Duration = result.Failure, Now()-x.running.began
	if !x.running.Remote {
		x.running.Work = x.running.Duration
	}
	p.execution = x.running.Execution
	result.After = x.effect(&x.running, &x.metadata)
	if p.watcher != nil {
		p.left = x.view(p.isRequest())
	}
	if p.isRequest() {
		p.own.Record(result.Before.Metadata, result.After.Metadata)
		fails := result.Failure != nil && instance.settings.OnError.For(result.Failure.Class) == Fail
		result.Over = fails || x.answered
	}
	return result
}

// restore sets the copy to the captured state, with the metadata that the policy has written in the phase before.
func (p *sandboxPhase) restore() {
	x := &p.copy
	x.state, p.captured.state = p.captured.state, state{}
	if x.sent != nil {
		sent := *x.sent
		sent.Metadata = &x.metadata
		x.sent = &sent
	}
	p.own.Restore(&x.metadata, p.captured.metadata)
}

// recordSeen keeps the view of the copy before the policy changes it.
func (p *sandboxPhase) recordSeen(metadata []byte) {
	p.seen = p.copy.view(p.isRequest())
	p.seen.Analytics = maps.Clone(p.seen.Analytics)
	p.seen.Metadata = &v1alpha.ExchangeMetadata{}
	_ = p.seen.Metadata.Merge(metadata, nil) // ExchangeMetadata.JSON wrote it
}

// apply executes the policy, and applies its action.
func (p *sandboxPhase) apply(ctx context.Context) *v1alpha.Failure {
	x, instance := &p.copy, p.attachment.Instance
	if p.isRequest() {
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

// Ended notifies the observer and the watcher, and gives back the memory of bodies.
func (p *sandboxPhase) Ended(report shadow.Report) {
	ended := Shadow{ComparedWith: p.attachment.comparedWith, Reason: report.Reason}
	switch report.Outcome {
	case NotShadow:
	case ShadowSkipped:
		ended.Execution = Execution{RequestID: p.copy.head.RequestID, Phase: p.phase, Cancelled: true, Shadow: ShadowSkipped}
	default:
		ended.Execution, ended.Seen, ended.Left = p.execution, p.seen, p.left
		ended.Execution.RequestID, ended.Execution.Phase = p.copy.head.RequestID, p.phase
		ended.Execution.Shadow = report.Outcome
		if report.Panic != nil {
			ended.Execution.Failure = report.Panic
		}
	}
	if ended.Execution.Shadow != NotShadow {
		p.attachment.observer.Began()
		p.attachment.observer.Ended(ended.Execution)
	}
	if p.watcher != nil {
		p.watcher.ShadowEnded(p.turn(), ended)
	}
	for _, m := range [...]*message{&p.captured.request, &p.captured.response, &p.copy.request, &p.copy.response} {
		m.dropAll()
	}
}
