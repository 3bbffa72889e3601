package chain

import (
	"slices"
	"strings"

	"gatewright.dev/policy-engine/internal/chain/shadow"
)

// Shadow attachments run beside an exchange, on copies of its state at their place in the chain. Their actions are not
// applied, and no exchange waits for them: the changes that they would have made are compared, counted and reported.

// DefaultShadowConcurrency is the default for concurrent executions of one shadow attachment.
const DefaultShadowConcurrency = 8

// MaxShadows limits the waiting and running executions of all shadow attachments together.
const MaxShadows = 1024

// ShadowOutcome is the result of a shadow attachment's execution.
type ShadowOutcome = shadow.Outcome

// The outcomes.
const (
	NotShadow       = shadow.None
	ShadowSame      = shadow.Same
	ShadowDifferent = shadow.Different
	ShadowFailed    = shadow.Failed
	ShadowSkipped   = shadow.Skipped
)

// ShadowOutcomes are the outcomes as text, from ShadowSame on.
var ShadowOutcomes = shadow.Outcomes

// Shadow reports a shadow attachment's execution to a watcher.
type Shadow struct {
	// Execution has the outcome in Shadow. It is NotShadow if there was no execution: in its request phase the policy
	// answered or failed, and so would not see the response.
	Execution    Execution
	ComparedWith int    // index in the chain of its counterpart; -1: it is compared with no change
	Reason       string // why it was skipped
	Seen, Left   View   // empty if it was skipped
}

// shadowAttachment is a shadow attachment in a chain.
type shadowAttachment struct {
	*Instance
	shadow.Attachment
	index        int // in the chain
	comparedWith int // as in Shadow
	observer     ExecutionObserver
}

func (s *shadowAttachment) hasHook(phase string) bool {
	if phase == PhaseRequest {
		return s.hasRequestHook()
	}
	return s.hasResponseHook()
}

func (s *shadowAttachment) buffers(phase string) bool {
	if phase == PhaseRequest {
		return s.settings.Mode.BuffersRequestBody()
	}
	return s.settings.Mode.BuffersResponseBody()
}

// ---------------------------------------------------------------- chains

// replaceShadows puts a placeholder that does nothing in the place of each shadow attachment.
func (c *Chain) replaceShadows() {
	isShadow := func(i *Instance) bool { return i.settings.Shadow }
	if !slices.ContainsFunc(c.all, isShadow) {
		return
	}
	c.onlyShadows = true
	c.spec.Instances = slices.Clone(c.all)
	for n, instance := range c.all {
		if !isShadow(instance) {
			c.onlyShadows = false
			continue
		}
		mode := instance.settings.Mode
		c.copiesBodies = c.copiesBodies || mode.BuffersRequestBody() || mode.BuffersResponseBody()
		c.spec.Instances[n] = &Instance{id: instance.id, name: instance.name}
	}
	if c.spec.Shadows == nil {
		c.spec.Shadows = NewShadows(MaxShadows, c.spec.Bodies)
	}
	c.shadowChain = &Chain{spec: c.spec, mode: c.mode, spelling: c.spelling, patterns: c.patterns}
	c.shadowChain.spec.Bodies = c.spec.Shadows.bodies
}

// placeShadows assigns each shadow attachment to the step that it runs at: that of its counterpart, otherwise its own.
func (c *Chain) placeShadows() {
	for n, instance := range c.all {
		if !instance.settings.Shadow {
			continue
		}
		labels := Labels{Policy: instance.name, API: c.spec.API, Operation: c.spec.Operation, Shadow: true}
		runs := shadow.Attachment{Bounds: c.spec.Shadows.Bounds, Turns: instance.turns, Timeout: instance.settings.Timeout}
		s := shadowAttachment{instance, runs, n, c.findCounterpart(n), c.spec.Observer.Executions(labels)}
		at := &c.steps[n]
		if s.comparedWith >= 0 {
			at = &c.steps[s.comparedWith]
		}
		at.shadows = append(at.shadows, s)
	}
}

// findCounterpart returns the index of the attachment of the same policy right before or behind the shadow at index n,
// with only shadows between them; -1: there is none, or it streams a body.
func (c *Chain) findCounterpart(n int) int {
	name := policyName(c.all[n])
	for _, step := range [...]int{-1, 1} {
		at := n + step
		for at >= 0 && at < len(c.all) && c.all[at].settings.Shadow {
			at += step
		}
		if at < 0 || at == len(c.all) || policyName(c.all[at]) != name {
			continue
		}
		if mode := c.all[at].settings.Mode; !mode.StreamsRequestBody() && !mode.StreamsResponseBody() {
			return at
		}
	}
	return -1
}

// policyName is the name of the instance's policy without its version.
func policyName(i *Instance) string {
	name, _, _ := strings.Cut(i.name, ":")
	return name
}

// CopiesBodies reports whether a shadow attachment gets a copy of a body. In that case the context of Run must end when
// the bodies that SendRest sends on have gone, or have failed.
func (c *Chain) CopiesBodies() bool { return c.copiesBodies }

// ---------------------------------------------------------------- bounds

// Shadows bounds the resources of the shadow attachments of all chains together. Close ends their executions.
type Shadows struct {
	*shadow.Bounds
	bodies *Budget // for copies of bodies, apart from the budget of exchanges
}

// NewShadows allows limit executions to wait or run at once, with copies of bodies within a budget of their own; nil:
// no limit.
func NewShadows(limit int, bodies *Budget) *Shadows {
	return &Shadows{shadow.NewBounds(limit), bodies}
}
