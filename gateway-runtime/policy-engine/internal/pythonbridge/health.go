package pythonbridge

import (
	"context"
	"fmt"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

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
	m.serving.Store(true)
	return nil
}

// watch checks the process until it is found dead or stuck, and returns that.
func (m *StreamManager) watch(ctx context.Context, client executorv1.PythonExecutorServiceClient) error {
	ticker := time.NewTicker(m.options.HealthInterval)
	defer ticker.Stop()
	seen := progress{since: time.Now()}
	for misses := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		m.retryFailed(time.Now())
		check, err := m.checkHealth(ctx, client)
		if err != nil {
			if misses++; misses >= m.options.HealthMisses {
				return fmt.Errorf("%d health checks in a row failed, the last one: %w", misses, err)
			}
			continue
		}
		misses = 0
		m.serving.Store(check.GetServing())
		if seen.still(check, time.Now()) >= m.options.StallAfter && m.overdue(check) {
			return m.stuck(check)
		}
	}
}

func (m *StreamManager) checkHealth(ctx context.Context, client executorv1.PythonExecutorServiceClient) (*executorv1.HealthCheckResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.HealthInterval)
	defer cancel()
	check, err := client.HealthCheck(ctx, &executorv1.HealthCheckRequest{})
	if err != nil {
		return nil, fmt.Errorf("health check of %s: %w", m.address, err)
	}
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
	return fmt.Errorf("the executor process at %s is stuck: all %d workers are busy and nothing finishes; "+
		"policy %q has run for %d ms", m.address, check.GetWorkers(), check.GetOldestExecutionPolicy(), check.GetOldestExecutionMs())
}

// progress tells for how long a process has finished nothing.
type progress struct {
	finished uint64
	since    time.Time
}

func (p *progress) still(check *executorv1.HealthCheckResponse, now time.Time) time.Duration {
	if check.GetExecutionsFinished() != p.finished {
		p.finished, p.since = check.GetExecutionsFinished(), now
	}
	return now.Sub(p.since)
}
