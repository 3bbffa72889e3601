package pythonbridge

import (
	"context"
	"fmt"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// leaveTimeout is longer than any execution may take.
const leaveTimeout = longestExchange + 10*time.Second

// admit refuses a process that does not answer, does not serve, or is stuck in overdue executions.
func (m *StreamManager) admit(ctx context.Context, client executorv1.PythonExecutorServiceClient) error {
	check, err := m.checkHealth(ctx, client)
	switch {
	case err != nil:
		return err
	case !check.GetServing():
		return fmt.Errorf("the executor process at %s says that it does not serve", m.address)
	case m.overdue(check):
		return m.stuck(check)
	}
	m.noteStuck(false)
	m.serving.Store(true)
	return nil
}

// watch checks the process until it is found dead or stuck, and returns that. A process that is leaving answers no
// health checks any more, and has leaveTimeout to end its stream.
func (m *StreamManager) watch(ctx context.Context, client executorv1.PythonExecutorServiceClient, leaving <-chan struct{}) error {
	ticker := time.NewTicker(m.options.HealthInterval)
	defer ticker.Stop()
	check := examination{since: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-leaving:
			return m.awaitEnd(ctx)
		case <-ticker.C:
		}
		m.retryFailed(time.Now())
		if err := m.examine(ctx, client, &check); err != nil && !isClosed(leaving) {
			return err
		}
	}
}

func (m *StreamManager) awaitEnd(ctx context.Context) error {
	if !sleep(ctx, leaveTimeout) {
		return context.Cause(ctx)
	}
	return fmt.Errorf("expected the executor process at %s to end its stream within %s of beginning to stop", m.address, leaveTimeout)
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

// examine makes one health check. An error is the verdict over several.
func (m *StreamManager) examine(ctx context.Context, client executorv1.PythonExecutorServiceClient, past *examination) error {
	check, err := m.checkHealth(ctx, client)
	if err != nil {
		if past.misses++; past.misses >= m.options.HealthMisses {
			return fmt.Errorf("%d health checks in a row failed, the last one: %w", past.misses, err)
		}
		return nil
	}
	past.misses = 0
	m.serving.Store(check.GetServing())
	if past.still(check, time.Now()) >= m.options.StallAfter && m.overdue(check) {
		return m.stuck(check)
	}
	return nil
}

func (m *StreamManager) checkHealth(ctx context.Context, client executorv1.PythonExecutorServiceClient) (*executorv1.HealthCheckResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.HealthInterval)
	defer cancel()
	check, err := client.HealthCheck(ctx, &executorv1.HealthCheckRequest{})
	m.lagging.Store(err != nil)
	if err != nil {
		return nil, fmt.Errorf("health check of %s: %w", m.address, err)
	}
	m.noteHealth(check, time.Now())
	return check, nil
}

// overdue reports whether all workers are busy and the oldest execution is long past any deadline it can have had.
// So it never counts a policy as stuck that is only allowed to be slow.
func (m *StreamManager) overdue(check *executorv1.HealthCheckResponse) bool {
	m.mu.Lock()
	limit := m.longestTimeout + m.options.StallAfter
	m.mu.Unlock()
	oldest := time.Duration(check.GetOldestExecutionMs()) * time.Millisecond
	return check.GetWorkers() > 0 && check.GetWorkersBusy() >= check.GetWorkers() && oldest > limit
}

func (m *StreamManager) stuck(check *executorv1.HealthCheckResponse) error {
	m.noteStuck(true)
	return fmt.Errorf("the executor process at %s is stuck: all %d workers are busy and nothing finishes; "+
		"policy %q has run for %d ms", m.address, check.GetWorkers(), check.GetOldestExecutionPolicy(), check.GetOldestExecutionMs())
}

// examination is what health checks have told so far.
type examination struct {
	misses   int       // in a row
	finished uint64    // executions
	since    time.Time // when finished was last seen to grow
}

// still returns for how long the process has finished nothing.
func (e *examination) still(check *executorv1.HealthCheckResponse, now time.Time) time.Duration {
	if check.GetExecutionsFinished() != e.finished {
		e.finished, e.since = check.GetExecutionsFinished(), now
	}
	return now.Sub(e.since)
}
