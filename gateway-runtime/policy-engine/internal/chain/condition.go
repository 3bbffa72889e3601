package chain

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Condition decides which exchanges a policy applies to. Chains share it, and many goroutines evaluate it at once.
type Condition interface {
	// Applies evaluates the condition for a request after the changes of earlier policies. It does not block, and keeps
	// nothing.
	Applies(request *v1alpha.RequestContext) (bool, error)
	// Text is the condition as its publisher wrote it.
	Text() string
}

// ClassCondition is the failure of a policy whose condition cannot be evaluated. Policies do not fail with it, and no
// onError lets it pass: otherwise a request that breaks a condition could choose to skip the policy.
const ClassCondition v1alpha.FailureClass = "condition"

// applies evaluates the policy's condition at its turn, once: the result holds for the response too. If that fails, the
// exchange is answered.
//
//go:noinline
func (x *exchange) applies(ctx context.Context, at int) bool {
	step := &x.chain.steps[at]
	applies, err := step.settings.When.Applies(x.requestContext(&x.inputs.request))
	switch {
	case err != nil:
		x.failCondition(ctx, step, err)
		return false
	case !applies:
		x.skip(step, at)
	}
	return applies
}

// failCondition records a failed execution of the policy, even if it has no request phase.
func (x *exchange) failCondition(ctx context.Context, step *step, cause error) {
	x.beginExecution(step, PhaseRequest)
	defer x.endExecution()
	if x.watched != nil {
		x.watchBegin(ctx)
	}
	failure := v1alpha.Failf(ClassCondition, "when: %v, in %s", cause, step.settings.When.Text())
	x.running.complete(failure)
	x.answerProblem(failure, true)
}

func (x *exchange) skip(step *step, at int) {
	if x.skipped == nil {
		x.skipped = make([]bool, len(x.chain.steps))
	}
	x.skipped[at] = true
	step.observer.Add(ExecutionsSkipped, 1)
	if x.watched != nil {
		x.watched.ExecutionSkipped(x.turnOf(step, PhaseRequest), step.settings.When.Text())
	}
}

// isSkipped reports whether the condition of the policy at index at was false.
func (x *exchange) isSkipped(at int) bool { return x.skipped != nil && x.skipped[at] }

// anyHasMode reports whether a policy before index end, unless it is known not to apply, has a mode that fits.
func (x *exchange) anyHasMode(end int, fits func(v1alpha.ProcessingModeConfig) bool) bool {
	for at, instance := range x.chain.spec.Instances[:end] {
		if !x.isSkipped(at) && fits(instance.settings.Mode) {
			return true
		}
	}
	return false
}

// The properties that a chain has over all its policies, here over those that apply.

func (x *exchange) keepsRequestBody() bool {
	return x.chain.keepsRequestBody && (x.skipped == nil || x.anyHasMode(len(x.skipped), wantsRequestBodyInResponse))
}

func (x *exchange) readsResponse() bool {
	return x.chain.readsResponse && (x.skipped == nil || x.anyHasMode(len(x.skipped), readsResponse))
}

func (x *exchange) refusesEncoded() bool {
	return x.chain.refusesEncoded && (x.skipped == nil || x.anyHasMode(len(x.skipped), refusesEncodedResponse))
}

func wantsRequestBodyInResponse(mode v1alpha.ProcessingModeConfig) bool {
	return mode.RequestBodyInResponse
}

// readsResponse reports whether the policy reads the response's body without its content encoding.
func readsResponse(mode v1alpha.ProcessingModeConfig) bool {
	return mode.WantsResponseBody() && !passesEncoded(mode)
}

// refusesEncodedResponse reports whether the policy reads the response's body, and refuses to have it decoded.
func refusesEncodedResponse(mode v1alpha.ProcessingModeConfig) bool {
	return mode.WantsResponseBody() && refusesEncoded(mode)
}
