package pythonbridge

import (
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// hungAgain is the interval at which an unchanged number of hung executions is logged again.
const hungAgain = 30 * time.Second

// healthReport is a process's last health check. The mutex of its StreamManager guards it.
type healthReport struct {
	last     *executorv1.HealthCheckResponse
	answered time.Time
	stalled  bool
	logged   map[string]loggedHung // by instance id
}

// loggedHung is the last log line about an instance's hung executions.
type loggedHung struct {
	count uint32
	when  time.Time
}

// record stores a health check, and returns the hung executions to be logged: those of an instance that had none, that
// have become more, or that were logged a while ago.
func (h *healthReport) record(check *executorv1.HealthCheckResponse, now time.Time) (toLog []*executorv1.HungExecutions) {
	logged := map[string]loggedHung{}
	for _, hung := range check.GetHung() {
		before, known := h.logged[hung.GetInstanceId()]
		if !known || hung.GetCount() > before.count || now.Sub(before.when) >= hungAgain {
			toLog = append(toLog, hung)
			before = loggedHung{hung.GetCount(), now}
		}
		logged[hung.GetInstanceId()] = before
	}
	h.last, h.answered, h.logged = check, now, logged
	return toLog
}

func (h *healthReport) addTo(stats *ProcessStats, now time.Time) {
	if !h.answered.IsZero() {
		stats.SilentMs = now.Sub(h.answered).Milliseconds()
	}
	stats.Stalled = h.stalled
	stats.MemoryExhausted, stats.ThreadFailed = h.last.GetMemoryExhausted(), h.last.GetThreadFailed()
	stats.ExecutionsStarted = h.last.GetExecutionsStarted()
	stats.WorkersBusy, stats.WorkersHung = h.last.GetWorkersBusy(), h.last.GetWorkersHung()
	stats.Hung = []HungStats{}
	for _, hung := range h.last.GetHung() {
		stats.Hung = append(stats.Hung, HungStats{Policy: hung.GetPolicy(), API: hung.GetApiName(), Instance: hung.GetInstanceId(),
			Count: hung.GetCount(), OldestMs: hung.GetOldestMs(), Blocks: hung.GetBlocksInstance()})
	}
}

// workersHeld reports whether all workers are busy and the oldest execution has run for longer than limit, which exceeds
// any deadline that it can have had. So a policy with a long timeout never counts as hung.
func workersHeld(check *executorv1.HealthCheckResponse, limit time.Duration) bool {
	oldest := time.Duration(check.GetOldestExecutionMs()) * time.Millisecond
	return check.GetWorkers() > 0 && check.GetWorkersBusy() >= check.GetWorkers() && oldest > limit
}
