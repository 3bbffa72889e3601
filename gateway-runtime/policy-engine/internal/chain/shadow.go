package chain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Shadow attachments run beside an exchange, on copies of its state at their place in the chain. Their actions are not
// applied, and no exchange waits for them: the changes that they would have made are compared, counted and reported.

// DefaultShadowConcurrency is the default for concurrent executions of one shadow attachment.
const DefaultShadowConcurrency = 8

// MaxShadows limits the waiting and running executions of all shadow attachments together.
const MaxShadows = 1024

// ShadowOutcome is the result of a shadow attachment's execution.
type ShadowOutcome uint8

// The outcomes.
const (
	NotShadow       ShadowOutcome = iota
	ShadowSame                    // its changes equal those of its counterpart, or there are none and it has no counterpart
	ShadowDifferent               // its changes differ
	ShadowFailed
	ShadowSkipped // it did not run: there was no capacity, no body, or no counterpart to compare it with
)

// ShadowOutcomes are the outcomes as text, from ShadowSame on.
var ShadowOutcomes = [...]string{"same", "different", "failed", "skipped"}

// String is the outcome as text; "" for an execution of an attachment that is no shadow.
func (o ShadowOutcome) String() string {
	if o == NotShadow {
		return ""
	}
	return ShadowOutcomes[o-ShadowSame]
}

// Shadow reports a shadow attachment's execution to a watcher.
type Shadow struct {
	// Execution has the outcome in Shadow. It is NotShadow if there was no execution: in its request phase the policy
	// answered or failed, and so would not see the response.
	Execution    Execution
	ComparedWith int    // index in the chain of its counterpart; -1: it is compared with no change
	Reason       string // why it was skipped
	Seen, Left   View   // empty if it was skipped
}

// shadow is a shadow attachment in a chain.
type shadow struct {
	*Instance
	index        int // in the chain
	comparedWith int // as in Shadow
	observer     ExecutionObserver
}

func (s *shadow) hasHook(phase string) bool {
	if phase == PhaseRequest {
		return s.hasRequestHook()
	}
	return s.hasResponseHook()
}

func (s *shadow) buffers(phase string) bool {
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
	c.shadowChain = &Chain{spec: c.spec, mode: c.mode, spelling: c.spelling, paths: c.paths}
	c.shadowChain.spec.Bodies = c.spec.Shadows.bodies
}

// placeShadows assigns each shadow attachment to the step that it runs at: that of its counterpart, otherwise its own.
func (c *Chain) placeShadows() {
	for n, instance := range c.all {
		if !instance.settings.Shadow {
			continue
		}
		labels := Labels{Policy: instance.name, API: c.spec.API, Operation: c.spec.Operation, Shadow: true}
		s := shadow{instance, n, c.findCounterpart(n), c.spec.Observer.Executions(labels)}
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

// Shadows bounds the resources of the shadow attachments of all chains together.
type Shadows struct {
	limit  int
	bodies *Budget         // for copies of bodies, apart from the budget of exchanges
	ctx    context.Context //nolint:containedctx // of all executions: they belong to no exchange
	stop   context.CancelFunc

	mutex   sync.Mutex
	pending int
	closed  bool
	idle    chan struct{} // closed, once, when Shadows is closed and no execution is pending
	isIdle  func()
}

// NewShadows allows limit executions to wait or run at once, with copies of bodies within a budget of their own; nil:
// no limit.
func NewShadows(limit int, bodies *Budget) *Shadows {
	s := &Shadows{limit: limit, bodies: bodies, idle: make(chan struct{})}
	s.isIdle = sync.OnceFunc(func() { close(s.idle) })
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// closeLimit bounds Close's wait for executions whose context has ended.
const closeLimit = 5 * time.Second

// Close ends all executions, and waits for their end, at most 5 s. No exchange may be under way.
func (s *Shadows) Close() {
	s.stop()
	s.mutex.Lock()
	s.closed = true
	if s.pending == 0 {
		s.isIdle()
	}
	s.mutex.Unlock()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-s.idle:
	case <-limit.C:
	}
}

// reserve counts one more execution, and reports whether it is within the limit. The caller releases it in either case.
func (s *Shadows) reserve() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.pending++
	return !s.closed && s.pending <= s.limit
}

func (s *Shadows) release() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.pending--; s.closed && s.pending == 0 {
		s.isIdle()
	}
}

// waitingPerTurn is the number of waiting executions for each that a shadow attachment may run at once.
const waitingPerTurn = 16

// turns runs the executions of one shadow attachment, a few at a time.
type turns struct {
	limit   int
	mutex   sync.Mutex
	running int
	waiting []*shadowTask
}

// isFull reports whether another execution would be refused.
func (t *turns) isFull() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.running >= t.limit && len(t.waiting) >= t.limit*waitingPerTurn
}

// submit runs the task, at once or in its turn; false: too many are waiting.
func (t *turns) submit(task *shadowTask) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	switch {
	case t.running < t.limit:
		t.running++
		go t.work(task)
	case len(t.waiting) < t.limit*waitingPerTurn:
		t.waiting = append(t.waiting, task)
	default:
		return false
	}
	return true
}

func (t *turns) work(task *shadowTask) {
	for task != nil {
		task.run.execute(task)
		task = t.next()
	}
}

func (t *turns) next() *shadowTask {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if len(t.waiting) == 0 {
		t.running--
		return nil
	}
	task := t.waiting[0]
	t.waiting[0], t.waiting = nil, t.waiting[1:]
	return task
}

// The reasons for which an execution is skipped.
const (
	noRoomAtAll     = "too many executions of shadow attachments wait or are under way on this node"
	noBody          = "the exchange ended before its body had come"
	onlyPart        = "a range of the response came; with this policy in place upstream is asked for the whole"
	noMemory        = "there is no room for its copy of the body: those of all shadow attachments together may take a quarter of --body-memory"
	noOther         = "the exchange ended before the policy that it is compared with had"
	requestSkipped  = "its request phase was skipped"
	engineStops     = "the engine stops"
	waitedForTurn   = "it waited for its turn longer than its timeout"
	tooManyTurnsFmt = "%d executions of it are under way and %d wait, maxConcurrency and %d times as many"
)

func (t *turns) fullReason() string {
	return fmt.Sprintf(tooManyTurnsFmt, t.limit, t.limit*waitingPerTurn, waitingPerTurn)
}
