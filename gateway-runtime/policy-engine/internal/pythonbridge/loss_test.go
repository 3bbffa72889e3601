package pythonbridge

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// wantLost fails unless the execution was lost with this message.
func wantLost(t testing.TB, err error, words string) {
	t.Helper()
	wantClass(t, err, v1alpha.ClassCrashed)
	if got := v1alpha.AsFailure(err).Message; got != words {
		t.Errorf("expected %q, got %q", words, got)
	}
}

func TestMessagesOfLostExecutions(t *testing.T) {
	hung := &executorv1.HealthCheckResponse{Serving: true, Workers: 4, WorkersBusy: 4, OldestExecutionMs: 900_000, OldestExecutionPolicy: "p:v1.0.0"}
	losses := map[string]struct {
		lose  func(x *scriptedExecutor, c *conversation)
		words string
		cause string
	}{
		"it has ended": {
			func(_ *scriptedExecutor, c *conversation) { c.end <- status.Error(codes.Unavailable, "EOF") },
			"the executor process ended while it ran", "code = Unavailable desc = EOF",
		},
		"it has stopped": {
			func(_ *scriptedExecutor, c *conversation) { c.end <- nil },
			"the executor process stopped while it ran", "ended the stream",
		},
		"it is silent": {
			func(x *scriptedExecutor, _ *conversation) {
				x.setHealth(func() (*executorv1.HealthCheckResponse, error) { return nil, errors.New("script says no") })
			},
			"the executor process answered no health check while it ran", "script says no",
		},
		"all its workers hang": {
			func(x *scriptedExecutor, _ *conversation) { x.setHealth(healthy(hung)) },
			"all workers of the executor process hung while it ran", `policy "p:v1.0.0" has run for 900000 ms`,
		},
		"it says hello again": {
			func(_ *scriptedExecutor, c *conversation) { c.hello() },
			"the stream to the executor process broke while it ran", "expected hello in the first reply frame only",
		},
		"the stream breaks": {
			func(_ *scriptedExecutor, c *conversation) { c.breakStream() },
			"the stream to the executor process broke while it ran", "code = Aborted",
		},
	}
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			withFakeClock(t, func(t *testing.T) {
				x := startExecutor(t)
				groups := connect(t, Options{StallAfter: time.Second}, x)
				c := x.greet(t)
				answer := callWith(t, time.Hour, bridgeOn(t, groups, c))
				c.nextFrame()
				loss.lose(x, c)
				err := await.Receive(t, answer, "the crash").err
				wantLost(t, err, loss.words)
				if got := v1alpha.AsFailure(err).Cause.Error(); !strings.Contains(got, loss.cause) || !strings.Contains(got, x.address) {
					t.Errorf("expected a log line with %s and %q, got %q", x.address, loss.cause, got)
				}
			})
		})
	}
}

func TestAStreamThatTheEngineEndsIsNoCrash(t *testing.T) {
	if got, want := lostExecution(context.Canceled).Message, "the engine closed its stream to the executor process while it ran"; got != want {
		t.Errorf("expected %q, got %q", want, got)
	}
}
