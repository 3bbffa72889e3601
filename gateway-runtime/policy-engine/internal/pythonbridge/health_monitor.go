package pythonbridge

import (
	"context"
	"fmt"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/backoff"
)

// leaveTimeout is how long a leaving process may take to end its stream: longer than any execution without a streamed
// body can take, and longer than streams may.
func (o Options) leaveTimeout() time.Duration { return max(longestExchange, o.Drain) + 10*time.Second }

// healthMonitor checks a process throughout a session.
type healthMonitor struct {
	process  *StreamManager
	client   executorv1.PythonExecutorServiceClient
	failures int // checks in a row
	progress progressClock
}

// admit refuses a process that does not answer, does not serve, or is stalled: no stream is opened to it.
func (h *healthMonitor) admit(ctx context.Context) error {
	check, err := h.check(ctx)
	switch {
	case err != nil:
		return err
	case !check.GetServing():
		return fmt.Errorf("the executor process at %s reports that it is not serving", h.process.address)
	}
	if err := h.process.checkStalled(check); err != nil {
		return err
	}
	h.process.serving.Store(true)
	h.process.stopping.Store(false)
	return nil
}

// watch checks the process until it is dead or stalled, and returns the reason. A leaving process no longer answers
// health checks, and has Options.leaveTimeout to end its stream.
func (h *healthMonitor) watch(ctx context.Context, leaving <-chan struct{}) error {
	ticker := time.NewTicker(h.process.options.HealthInterval)
	defer ticker.Stop()
	h.progress.since = time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-leaving:
			return h.awaitEnd(ctx)
		case <-ticker.C:
		}
		h.process.retryFailed(time.Now())
		if err := h.checkAgain(ctx); err != nil && !isClosed(leaving) {
			return err
		}
	}
}

func (h *healthMonitor) awaitEnd(ctx context.Context) error {
	limit := h.process.options.leaveTimeout()
	if !backoff.Sleep(ctx, limit) {
		return context.Cause(ctx)
	}
	return fmt.Errorf("expected the executor process at %s to end its stream within %s of beginning to stop", h.process.address, limit)
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

// checkAgain makes one health check, and returns an error once several have failed, or the process is stalled.
func (h *healthMonitor) checkAgain(ctx context.Context) error {
	check, err := h.check(ctx)
	if err != nil {
		if h.failures++; h.failures >= h.process.options.HealthMisses {
			return fmt.Errorf("%w: %d in a row failed, the last one: %w", errSilent, h.failures, err)
		}
		return nil
	}
	h.failures = 0
	h.process.serving.Store(check.GetServing())
	if h.progress.sinceLast(check.GetExecutionsFinished(), time.Now()) < h.process.options.StallAfter {
		return nil
	}
	return h.process.checkStalled(check)
}

func (h *healthMonitor) check(ctx context.Context) (*executorv1.HealthCheckResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, h.process.options.HealthInterval)
	defer cancel()
	check, err := h.client.HealthCheck(ctx, &executorv1.HealthCheckRequest{})
	h.process.silent.Store(err != nil)
	if err != nil {
		return nil, fmt.Errorf("health check of %s: %w", h.process.address, err)
	}
	h.process.recordHealth(check, time.Now())
	return check, nil
}

// progressClock measures for how long a process has finished no execution.
type progressClock struct {
	finished uint64    // executions
	since    time.Time // when finished last grew
}

// sinceLast returns the time since the last execution is known to have finished.
func (c *progressClock) sinceLast(finished uint64, now time.Time) time.Duration {
	if finished != c.finished {
		c.finished, c.since = finished, now
	}
	return now.Sub(c.since)
}
