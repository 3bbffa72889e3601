package chain

import (
	"context"
	"maps"
	"slices"

	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

// The part of an exchange that feeds its shadow attachments, in the exchange's goroutine. It stands apart from the code
// that runs the exchange: an exchange without shadow attachments calls none of this.

// shadowed is the state of the shadow attachments that run beside an exchange.
type shadowed struct {
	sandboxes []*sandbox
	prepared  []*shadow.Task // captured, and not started
}

// noOther is the reason that a shadow attachment is skipped whose counterpart has no effect.
const noOther = "the exchange ended before the policy that it is compared with had"

// runShadows runs the shadow attachments of a step that has no execution of its own in this phase.
//
//go:noinline
func (x *exchange) runShadows(ctx context.Context, step *step, phase string) {
	x.beginShadows(ctx, step, phase)
	if x.shadowed != nil {
		x.shadowed.start(nil)
	}
}

// prepareShadows captures the input of the execution under way for its shadow attachments.
//
//go:noinline
func (x *exchange) prepareShadows(ctx context.Context) {
	x.beginShadows(ctx, x.running.step, x.running.Phase)
}

func (x *exchange) beginShadows(ctx context.Context, step *step, phase string) {
	for n := range step.shadows {
		attachment := &step.shadows[n]
		if !attachment.hasHook(phase) {
			continue
		}
		s := x.sandboxOf(attachment)
		if attachment.settings.When != nil && !s.asked {
			s.evaluate(x.requestContext(&v1alpha.RequestContext{}))
		}
		if s.passedBy {
			continue
		}
		p := &sandboxPhase{sandbox: s, phase: phase}
		task := s.begin(p) //nolint:contextcheck // the execution belongs to no exchange
		x.shadowed.prepared = append(x.shadowed.prepared, task)
		if task.IsSkipped() {
			continue
		}
		if phase == PhaseResponse && x.sent == nil {
			x.sent = x.requestContext(&v1alpha.RequestContext{})
		}
		p.capture(&x.state, &x.metadata)
		if attachment.buffers(phase) {
			p.copyBody(ctx, task, x.messageOf(phase), x.front)
		}
	}
}

// sandboxOf returns the sandbox of the shadow attachment beside the exchange.
func (x *exchange) sandboxOf(attachment *shadowAttachment) *sandbox {
	if x.shadowed == nil {
		x.shadowed = &shadowed{}
	}
	for _, s := range x.shadowed.sandboxes {
		if s.attachment == attachment {
			return s
		}
	}
	x.chain.use.active.Add(1) // until the sandbox is released
	s := &sandbox{attachment: attachment, chain: x.chain, copy: exchange{chain: x.chain.shadowChain, head: x.head, grpc: x.grpc, pathParams: x.pathParams}}
	if x.watched != nil {
		s.watcher = x.watched.Watcher
	}
	s.run = shadow.NewRun(&attachment.Attachment, s.release)
	x.shadowed.sandboxes = append(x.shadowed.sandboxes, s)
	return s
}

// capture keeps the policy's input without a body.
func (p *sandboxPhase) capture(s *state, metadata *v1alpha.ExchangeMetadata) {
	c, shadowChain := &p.captured, p.chain.shadowChain
	c.attributes = s.attributes
	c.analytics = maps.Clone(s.analytics)
	c.metadata, _ = metadata.JSON() // metadata that cannot be written is not seen
	if p.isRequest() {
		c.request, c.response = s.request.withoutBody(shadowChain), message{}
		return
	}
	c.request = message{direction: Request, headers: s.request.headers.clone(), ended: true} // its body may be on its way still
	c.response = s.response.withoutBody(shadowChain)
}

// messageOf is the message of a phase.
func (s *state) messageOf(phase string) *message {
	if phase == PhaseRequest {
		return &s.request
	}
	return &s.response
}

// withoutBody is a copy of the message that shares no mutable state.
func (m *message) withoutBody(shadowChain *Chain) message {
	return message{
		direction: m.direction, headers: m.headers.clone(), delivered: m.delivered, bodiless: m.bodiless, declared: m.declared, status: m.status,
		hasBody: m.hasBody, ended: m.ended, body: body{budget: shadowChain.spec.Bodies},
	}
}

// clone is a list that shares the headers: changes of one list do not show in the other.
func (l *headerList) clone() headerList {
	return headerList{original: l.original, view: l.view, touched: slices.Clip(l.touched)}
}

// startShadows runs the prepared tasks, now that the effect to compare them with is known.
//
//go:noinline
func (x *exchange) startShadows() {
	if x.shadowed == nil || len(x.shadowed.prepared) == 0 {
		return
	}
	if x.running.Cancelled {
		for _, task := range x.shadowed.prepared {
			task.Skip(noOther)
		}
	}
	effect := x.effect(&x.running, &x.metadata)
	x.shadowed.start(&effect)
}

// start runs the prepared tasks. expected is the effect that they are compared with; nil: no change.
func (s *shadowed) start(expected *shadow.Effect) {
	for _, task := range s.prepared {
		task.Expect(expected)
		task.Release()
	}
	s.prepared = nil
}

// end releases the sandboxes: no more phases begin.
//
//go:noinline
func (s *shadowed) end() {
	for _, task := range s.prepared { // a panic has kept the step from its end
		task.Skip(noOther)
		task.Release()
	}
	s.prepared = nil
	for n := range s.sandboxes {
		s.sandboxes[n].run.Release()
	}
}

// effect is the part of the state after an execution that is compared.
func (s *state) effect(r *running, metadata *v1alpha.ExchangeMetadata) shadow.Effect {
	e := shadow.Effect{
		Method: s.method, Path: s.path, Query: s.query, Authority: s.authority, Upstream: s.upstream, Analytics: maps.Clone(s.analytics),
	}
	e.Metadata, _ = metadata.JSON() // metadata that cannot be written is not compared
	if r.Phase == PhaseRequest {
		e.Request = s.request.effect(r.newBody)
		e.Answered = s.answered
	}
	if r.Phase == PhaseResponse || s.answered {
		e.Status = s.status
		e.Response = s.response.effect(r.newBody || r.answers)
	}
	return e
}

func (m *message) effect(newBody bool) shadow.Message {
	return shadow.NewMessage(m.headers.view, newBody, m.body.pieces)
}
