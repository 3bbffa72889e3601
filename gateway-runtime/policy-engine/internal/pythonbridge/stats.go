package pythonbridge

import "time"

// ProcessStats is how one executor process stands. Totals are since the engine started, or since it joined.
type ProcessStats struct {
	Group             string      `json:"group"`
	Address           string      `json:"address"`
	Generation        uint64      `json:"generation"` // that it joined in
	Role              string      `json:"role"`       // joining, serving, leaving
	Connected         bool        `json:"connected"`
	Serving           bool        `json:"serving"` // by its last health check
	PID               uint32      `json:"pid"`     // 0 before the first hello
	PythonVersion     string      `json:"pythonVersion"`
	Workers           uint32      `json:"workers"`
	Instances         int         `json:"instances"`
	UnderWay          int         `json:"underWay"` // sent and not answered
	Queued            int         `json:"queued"`
	Frames            uint64      `json:"frames"`     // sent
	Executions        uint64      `json:"executions"` // sent
	Reconnects        uint64      `json:"reconnects"`
	DroppedAnswers    uint64      `json:"droppedAnswers"`    // late, or never asked for
	SilentMs          int64       `json:"silentMs"`          // since it last answered a health check; 0 before the first answer
	Stuck             bool        `json:"stuck"`             // all workers are busy with what nobody waits for; it is not used
	MemoryExhausted   bool        `json:"memoryExhausted"`   // an allocation has failed there
	ThreadFailed      bool        `json:"threadFailed"`      // a thread that the process needs has failed there
	ExecutionsStarted uint64      `json:"executionsStarted"` // by the process, as it said last
	WorkersBusy       uint32      `json:"workersBusy"`
	WorkersHung       uint32      `json:"workersHung"`
	Hung              []HungStats `json:"hung"`
}

// HungStats are the executions of one policy instance that run on although their deadline is long past.
type HungStats struct {
	Policy   string `json:"policy"` // name:version
	API      string `json:"api"`
	Instance string `json:"instance"`
	Count    uint32 `json:"count"`
	OldestMs uint32 `json:"oldestMs"`
	Blocks   bool   `json:"blocksInstance"` // the instance answers nothing any more in this process
}

// Stats returns every process, by group and in the order they came.
func (g *Groups) Stats() []ProcessStats {
	all := []ProcessStats{}
	for _, name := range g.names() {
		for _, process := range g.group(name).roster() {
			all = append(all, process.stats(name))
		}
	}
	return all
}

func (m *StreamManager) stats(group string) ProcessStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	stats := ProcessStats{
		Group: group, Address: m.address, Generation: m.generation.number, Role: roleNames[role(m.role.Load())],
		Connected: m.connected.Load(), Serving: m.connected.Load() && m.serving.Load(),
		PID: m.hello.GetPid(), PythonVersion: m.hello.GetPythonVersion(), Workers: m.hello.GetWorkers(),
		Instances: len(m.live), UnderWay: len(m.sent), Queued: m.queued,
		Frames: m.counts.frames, Executions: m.counts.executions,
		Reconnects: max(m.counts.streams, 1) - 1, DroppedAnswers: m.counts.dropped,
	}
	m.health.into(&stats, time.Now())
	return stats
}
