package pythonbridge

import (
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// hungAgain is how long hung executions that were logged are left unsaid, if they do not become more.
const hungAgain = 30 * time.Second

// healthReport is what a process said of itself last.
type healthReport struct {
	last     *executorv1.HealthCheckResponse
	answered time.Time
	stuck    bool
	said     map[string]saidHung // by instance id
}

// saidHung is what was last logged of the hung executions of an instance.
type saidHung struct {
	count uint32
	when  time.Time
}

func (m *StreamManager) noteHealth(check *executorv1.HealthCheckResponse, now time.Time) {
	m.mu.Lock()
	news := m.health.take(check, now)
	m.mu.Unlock()
	for _, hung := range news {
		m.log.Warn("executions of a policy hang: they run on although their deadline is long past", "pid", check.GetPid(),
			"policy", hung.GetPolicy(), "api", hung.GetApiName(), "instance", hung.GetInstanceId(), "executions", hung.GetCount(),
			"oldest", (time.Duration(hung.GetOldestMs()) * time.Millisecond).String(), "blocksInstance", hung.GetBlocksInstance(),
			"limit", (time.Duration(hung.GetLimitMs()) * time.Millisecond).String(), "stack", hung.GetStack())
	}
}

func (m *StreamManager) noteStuck(stuck bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.stuck = stuck
}

// take keeps a health check, and returns of the hung executions in it what is worth saying.
func (h *healthReport) take(check *executorv1.HealthCheckResponse, now time.Time) (news []*executorv1.HungExecutions) {
	said := map[string]saidHung{}
	for _, hung := range check.GetHung() {
		before, known := h.said[hung.GetInstanceId()]
		if !known || hung.GetCount() > before.count || now.Sub(before.when) >= hungAgain {
			news = append(news, hung)
			before = saidHung{hung.GetCount(), now}
		}
		said[hung.GetInstanceId()] = before
	}
	h.last, h.answered, h.said = check, now, said
	return news
}

func (h *healthReport) into(stats *ProcessStats, now time.Time) {
	if !h.answered.IsZero() {
		stats.SilentMs = now.Sub(h.answered).Milliseconds()
	}
	stats.Stuck = h.stuck
	stats.MemoryExhausted, stats.ThreadFailed = h.last.GetMemoryExhausted(), h.last.GetThreadFailed()
	stats.ExecutionsStarted = h.last.GetExecutionsStarted()
	stats.WorkersBusy, stats.WorkersHung = h.last.GetWorkersBusy(), h.last.GetWorkersHung()
	stats.Hung = []HungStats{}
	for _, hung := range h.last.GetHung() {
		stats.Hung = append(stats.Hung, HungStats{Policy: hung.GetPolicy(), API: hung.GetApiName(), Instance: hung.GetInstanceId(),
			Count: hung.GetCount(), OldestMs: hung.GetOldestMs(), Blocks: hung.GetBlocksInstance()})
	}
}
