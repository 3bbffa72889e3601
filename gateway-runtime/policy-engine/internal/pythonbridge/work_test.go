package pythonbridge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestWorkIsStored: the execution's context receives the time of the policy's function, even after a failure.
func TestWorkIsStored(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		_, _, c, policy := one(t, Options{})
		bridge := policy.(*PythonBridge)
		for name, action := range map[string]*executorv1.Action{
			"an action": {WorkUs: 1500},
			"a failure": {WorkUs: 1500, Failure: &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_EXCEPTION}},
		} {
			var work time.Duration
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			waiting := call(bridge.WithWork(ctx, &work), policy, request())
			action.Id = c.nextFrame().GetExecutions()[0].GetId()
			c.answer(action)
			await.Receive(t, waiting, "the answer")
			if cancel(); work != 1500*time.Microsecond {
				t.Errorf("%s: expected 1.5ms, got %v", name, work)
			}
		}
	})
}

// TestWorkOfAStreamIsStored before its iterator has ended.
func TestWorkOfAStreamIsStored(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		var work time.Duration
		bridge := policy.(*PythonBridge)
		ended := make(chan time.Duration)
		go func() {
			none := func(func([]byte, error) bool) {}
			for _, err := range bridge.OnRequestStream(bridge.WithWork(context.Background(), &work), request(), none) {
				if err != nil {
					t.Error(err)
				}
			}
			ended <- work
		}()
		began := c.nextFrameUnacknowledged().GetExecutions()[0]
		c.ack(1)
		synctest.Wait()
		c.reply(&executorv1.ReplyFrame{Actions: []*executorv1.Action{{Id: began.GetId(), WorkUs: 40}}})
		if got := <-ended; got != 40*time.Microsecond {
			t.Errorf("expected 40µs, got %v", got)
		}
	})
}
