package chain

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Condition says to which exchanges a policy applies. It is shared by chains and asked by many goroutines at once.
type Condition interface {
	// Applies answers for a request, as the policies before have left it. It does not wait for anything, and keeps nothing.
	Applies(request *v1alpha.RequestContext) (bool, error)
	// Text is the condition as its publisher wrote it.
	Text() string
}

// ClassCondition is the failure of a policy of which nobody can say whether it applies. No policy fails with it, and no
// onError lets it pass: a request that breaks a condition would choose to be let by.
const ClassCondition v1alpha.FailureClass = "condition"

// applies asks the policy's condition at its turn, once: the answer holds for the response too. Where there is none, the
// exchange is answered.
//
//go:noinline
func (x *exchange) applies(ctx context.Context, at int) bool {
	step := &x.chain.steps[at]
	applies, err := step.settings.When.Applies(x.requestContext())
	switch {
	case err != nil:
		x.failCondition(ctx, step, err)
		return false
	case !applies:
		x.skip(step, at)
	}
	return applies
}

// failCondition makes an execution of it that has failed, whichever phases the policy has.
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
	step.observer.Skipped()
	if x.watched != nil {
		x.watched.ExecutionSkipped(x.turnOf(step, PhaseRequest), step.settings.When.Text())
	}
}

// isSkipped reports whether the policy at is known not to apply.
func (x *exchange) isSkipped(at int) bool { return x.skipped != nil && x.skipped[at] }

// wants reports whether one of the policies before the one at end, which is not known not to apply, has a mode that fits.
func (x *exchange) wants(end int, fits func(v1alpha.ProcessingModeConfig) bool) bool {
	for at, instance := range x.chain.spec.Instances[:end] {
		if !x.isSkipped(at) && fits(instance.settings.Mode) {
			return true
		}
	}
	return false
}

// What a chain says of all its policies, of those that apply.

func (x *exchange) keepsRequestBody() bool {
	return x.chain.keepsRequestBody && (x.skipped == nil || x.wants(len(x.skipped), wantsRequestBodyInResponse))
}

func (x *exchange) readsResponse() bool {
	return x.chain.readsResponse && (x.skipped == nil || x.wants(len(x.skipped), readsResponse))
}

func (x *exchange) refusesEncoded() bool {
	return x.chain.refusesEncoded && (x.skipped == nil || x.wants(len(x.skipped), refusesEncodedResponse))
}

func wantsRequestBodyInResponse(mode v1alpha.ProcessingModeConfig) bool {
	return mode.RequestBodyInResponse
}

// readsResponse: the policy reads the response's body, and wants it without a content encoding.
func readsResponse(mode v1alpha.ProcessingModeConfig) bool {
	return mode.WantsResponseBody() && !passesEncoded(mode)
}

// refusesEncodedResponse: nor does it want that body decoded.
func refusesEncodedResponse(mode v1alpha.ProcessingModeConfig) bool {
	return mode.WantsResponseBody() && refusesEncoded(mode)
}
