package chain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Shadow attachments run beside an exchange, on copies of what their place in the chain has. Nothing that they do is
// applied, and no exchange waits for one: what they would have changed is compared, counted and told.

// DefaultShadowConcurrency is how many executions of a shadow attachment are under way at once where it does not say.
const DefaultShadowConcurrency = 8

// MaxShadows is how many executions of all shadow attachments together wait or are under way.
const MaxShadows = 1024

// ShadowOutcome says how a shadow attachment's execution has ended.
type ShadowOutcome uint8

// The outcomes.
const (
	NotShadow       ShadowOutcome = iota
	ShadowSame                    // it would have made what the attachment that it is compared with has made, or no change
	ShadowDifferent               // it would have made something else
	ShadowFailed
	ShadowSkipped // it did not run: there was no room, no body, or nothing to compare it with
)

// ShadowOutcomes are the outcomes as people read them, from ShadowSame on.
var ShadowOutcomes = [...]string{"same", "different", "failed", "skipped"}

// String is the outcome as people read it; "" of an execution that is none of a shadow attachment.
func (o ShadowOutcome) String() string {
	if o == NotShadow {
		return ""
	}
	return ShadowOutcomes[o-ShadowSame]
}

// Shadow is what a watcher is told of a shadow attachment's execution.
type Shadow struct {
	// Execution has the outcome in Shadow. It is NotShadow where there was none: in its request phase the policy has
	// answered or failed, and would not see the response.
	Execution    Execution
	ComparedWith int    // index in the chain of the attachment that it is compared with; -1: with no change
	Reason       string // why it was skipped
	Seen, Left   View   // none of one that was skipped
}

// shadow is a shadow attachment in a chain.
type shadow struct {
	*Instance
	index        int // in the chain
	comparedWith int // as that of Shadow
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

// setShadowsApart puts an instance that does nothing where a shadow attachment stands.
func (c *Chain) setShadowsApart() {
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
	c.beside = &Chain{spec: c.spec, mode: c.mode, spelling: c.spelling, paths: c.paths}
	c.beside.spec.Bodies = c.spec.Shadows.bodies
}

// placeShadows has each shadow attachment run at its place: that of the attachment that it is compared with, else its own.
func (c *Chain) placeShadows() {
	for n, instance := range c.all {
		if !instance.settings.Shadow {
			continue
		}
		labels := Labels{Policy: instance.name, API: c.spec.API, Operation: c.spec.Operation, Shadow: true}
		s := shadow{instance, n, c.besides(n), c.spec.Observer.Executions(labels)}
		at := &c.steps[n]
		if s.comparedWith >= 0 {
			at = &c.steps[s.comparedWith]
		}
		at.shadows = append(at.shadows, s)
	}
}

// besides finds the attachment of the same policy that the shadow at n stands right before or behind, with no others but
// shadows between them; -1: there is none, or it streams a body.
func (c *Chain) besides(n int) int {
	name := policyOf(c.all[n])
	for _, step := range [...]int{-1, 1} {
		at := n + step
		for at >= 0 && at < len(c.all) && c.all[at].settings.Shadow {
			at += step
		}
		if at < 0 || at == len(c.all) || policyOf(c.all[at]) != name {
			continue
		}
		if mode := c.all[at].settings.Mode; !mode.StreamsRequestBody() && !mode.StreamsResponseBody() {
			return at
		}
	}
	return -1
}

// policyOf is the name of the instance's policy without its version.
func policyOf(i *Instance) string {
	name, _, _ := strings.Cut(i.name, ":")
	return name
}

// CopiesBodies reports whether a shadow attachment is given a copy of a body. Where one is, the context of Run ends when
// the bodies that SendRest sends on have gone, or will not.
func (c *Chain) CopiesBodies() bool { return c.copiesBodies }

// ---------------------------------------------------------------- bounds

// Shadows bounds what the shadow attachments of all chains take together.
type Shadows struct {
	limit  int
	bodies *Budget         // for copies: what real exchanges may hold is not theirs
	ctx    context.Context //nolint:containedctx // of all executions: they are no exchange's
	stop   context.CancelFunc

	mutex   sync.Mutex
	pending int
	closed  bool
	idle    chan struct{} // closed, once, when it is closed and nothing is pending
	isIdle  func()
}

// NewShadows lets so many executions wait or be under way at once, with copies of bodies within a budget of their own; nil:
// without a limit.
func NewShadows(limit int, bodies *Budget) *Shadows {
	s := &Shadows{limit: limit, bodies: bodies, idle: make(chan struct{})}
	s.isIdle = sync.OnceFunc(func() { close(s.idle) })
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// closeLimit is how long Close waits for executions whose context has ended.
const closeLimit = 5 * time.Second

// Close ends all executions, and waits until they have ended, 5 s at most. No exchange is under way.
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

// take counts one more, and reports whether there is room for it. Each is given back, whether there was or not.
func (s *Shadows) take() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.pending++
	return !s.closed && s.pending <= s.limit
}

func (s *Shadows) give() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.pending--; s.closed && s.pending == 0 {
		s.isIdle()
	}
}

// waitingPerTurn is how many executions wait for each that a shadow attachment may have under way.
const waitingPerTurn = 16

// turns has the executions of one shadow attachment run, a few at a time.
type turns struct {
	limit   int
	mutex   sync.Mutex
	running int
	waiting []*shadowTask
}

// isFull reports whether one more would be refused.
func (t *turns) isFull() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.running >= t.limit && len(t.waiting) >= t.limit*waitingPerTurn
}

// take runs the task, at once or in its turn; false: there are too many.
func (t *turns) take(task *shadowTask) bool {
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

// Why an execution is skipped.
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

func (t *turns) full() string {
	return fmt.Sprintf(tooManyTurnsFmt, t.limit, t.limit*waitingPerTurn, waitingPerTurn)
}
