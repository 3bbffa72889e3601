package pythonbridge

import "time"

// ProcessStats describes one executor process. Totals are since the engine started, or since the process joined; values
// that the process reports are zero before its first hello and health check. Times are in milliseconds.
type ProcessStats struct {
	Group             string      `json:"group"`             // executor group
	Address           string      `json:"address"`           // "unix:/path"
	Generation        uint64      `json:"generation"`        // in which it joined
	Role              string      `json:"role"`              // joining, serving, leaving
	Connected         bool        `json:"connected"`         // a stream is up, and the process has said hello on it
	Serving           bool        `json:"serving"`           // by its last health check
	PID               uint32      `json:"pid"`               // 0 before the first hello
	PythonVersion     string      `json:"pythonVersion"`     // "3.12.4"
	Workers           uint32      `json:"workers"`           // threads that run policies
	Instances         int         `json:"instances"`         // live in it, ready or not
	UnderWay          int         `json:"underWay"`          // executions sent and not answered
	Streams           int         `json:"streams"`           // executions under way that stream a body
	Queued            int         `json:"queued"`            // executions that wait for a frame, or for their instance
	Frames            uint64      `json:"frames"`            // sent
	Executions        uint64      `json:"executions"`        // sent
	PiecesSent        uint64      `json:"piecesSent"`        // of bodies that policies stream
	BytesSent         uint64      `json:"bytesSent"`         // in these
	PiecesReceived    uint64      `json:"piecesReceived"`    // of their output
	BytesReceived     uint64      `json:"bytesReceived"`     // in these
	Reconnects        uint64      `json:"reconnects"`        // streams after the first one
	DroppedAnswers    uint64      `json:"droppedAnswers"`    // to executions that had been abandoned, or were never sent
	SpanBytes         uint64      `json:"spanBytes"`         // of spans that policies have recorded
	DroppedSpanBytes  uint64      `json:"droppedSpanBytes"`  // of these, too many for a frame, or without an exporter
	SilentMs          int64       `json:"silentMs"`          // since it last answered a health check; 0 before the first answer
	Stalled           bool        `json:"stalled"`           // hung executions hold all workers; it gets no executions
	MemoryExhausted   bool        `json:"memoryExhausted"`   // an allocation has failed there
	ThreadFailed      bool        `json:"threadFailed"`      // a thread that the process needs has failed there
	ExecutionsStarted uint64      `json:"executionsStarted"` // by its last health check
	WorkersBusy       uint32      `json:"workersBusy"`       // workers that run an execution
	WorkersHung       uint32      `json:"workersHung"`       // workers that a hung execution holds
	Hung              []HungStats `json:"hung"`              // by instance
}

// HungStats are the hung executions of one policy instance in one process, by its last health check.
type HungStats struct {
	Policy   string `json:"policy"`         // name:version
	API      string `json:"api"`            // name of the API
	Instance string `json:"instance"`       // id of the policy instance
	Count    uint32 `json:"count"`          // hung executions
	OldestMs uint32 `json:"oldestMs"`       // how long the oldest has run
	Blocks   bool   `json:"blocksInstance"` // the instance can run no more executions in this process
}

// Stats returns every process, by group and in the order they came.
func (g *Groups) Stats() []ProcessStats {
	all := []ProcessStats{}
	for _, name := range g.names() {
		for _, process := range g.group(name).allProcesses() {
			all = append(all, process.stats(name))
		}
	}
	return all
}

// QuarantineStats describes one policy instance that is under quarantine.
type QuarantineStats struct {
	Group    string `json:"group"`    // executor group
	Policy   string `json:"policy"`   // name:version
	API      string `json:"api"`      // name of the API
	Instance string `json:"instance"` // id of the policy instance
	Deaths   int    `json:"deaths"`   // processes that died while it ran
	LeftMs   int64  `json:"leftMs"`   // time until it is tried again
	HeldAt   string `json:"heldAt"`   // FILE:LINE at which it held the interpreter of a process; "": processes crashed
}

// Quarantined are the policy instances under quarantine, because processes crash while they run, by group, API and
// instance.
func (g *Groups) Quarantined() []QuarantineStats {
	all := []QuarantineStats{}
	for _, name := range g.names() {
		for _, q := range g.group(name).crashes.Quarantined() {
			all = append(all, QuarantineStats{Group: name, Policy: q.Policy, API: q.API, Instance: q.Name,
				Deaths: q.Crashes, LeftMs: (q.Left + time.Millisecond - 1).Milliseconds(), HeldAt: q.HeldAt})
		}
	}
	return all
}
