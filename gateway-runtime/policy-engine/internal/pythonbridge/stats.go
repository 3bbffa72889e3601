package pythonbridge

import "time"

// ProcessStats is how one executor process stands. Totals are since the engine started, or since the process joined; what
// the process says of itself is zero before its first hello and health check. Times are in milliseconds.
type ProcessStats struct {
	Group             string      `json:"group"`             // executor group
	Address           string      `json:"address"`           // "unix:/path"
	Generation        uint64      `json:"generation"`        // that it joined in
	Role              string      `json:"role"`              // joining, serving, leaving
	Connected         bool        `json:"connected"`         // a stream is up, and the process has said hello on it
	Serving           bool        `json:"serving"`           // by its last health check
	PID               uint32      `json:"pid"`               // 0 before the first hello
	PythonVersion     string      `json:"pythonVersion"`     // as the process says, "3.12.4"
	Workers           uint32      `json:"workers"`           // threads that run policies
	Instances         int         `json:"instances"`         // that are live here, ready or not
	UnderWay          int         `json:"underWay"`          // sent and not answered
	Streams           int         `json:"streams"`           // of those under way, that stream a body
	Queued            int         `json:"queued"`            // for a frame, or for their instance to be ready
	Frames            uint64      `json:"frames"`            // sent
	Executions        uint64      `json:"executions"`        // sent
	PiecesSent        uint64      `json:"piecesSent"`        // of bodies that streams are given
	BytesSent         uint64      `json:"bytesSent"`         // in these
	PiecesReceived    uint64      `json:"piecesReceived"`    // of what streams yield
	BytesReceived     uint64      `json:"bytesReceived"`     // in these
	Reconnects        uint64      `json:"reconnects"`        // streams after the first one
	DroppedAnswers    uint64      `json:"droppedAnswers"`    // to executions that nobody waited for any more, or that were never sent
	SpanBytes         uint64      `json:"spanBytes"`         // of spans that policies have recorded
	DroppedSpanBytes  uint64      `json:"droppedSpanBytes"`  // of these, too many for a frame, or for nobody
	SilentMs          int64       `json:"silentMs"`          // since it last answered a health check; 0 before the first answer
	Stalled           bool        `json:"stalled"`           // hung executions hold all workers; it is not used
	MemoryExhausted   bool        `json:"memoryExhausted"`   // an allocation has failed there
	ThreadFailed      bool        `json:"threadFailed"`      // a thread that the process needs has failed there
	ExecutionsStarted uint64      `json:"executionsStarted"` // by the process, as it said last
	WorkersBusy       uint32      `json:"workersBusy"`       // that run an execution now
	WorkersHung       uint32      `json:"workersHung"`       // that a hung execution holds
	Hung              []HungStats `json:"hung"`              // one for each instance that has some
}

// HungStats are the hung executions of one policy instance in one process, by its last health check.
type HungStats struct {
	Policy   string `json:"policy"`         // name:version
	API      string `json:"api"`            // name of the API
	Instance string `json:"instance"`       // id of the policy instance
	Count    uint32 `json:"count"`          // hung executions
	OldestMs uint32 `json:"oldestMs"`       // how long the oldest has run
	Blocks   bool   `json:"blocksInstance"` // the instance answers nothing any more in this process
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

// QuarantineStats is one policy instance that is not executed.
type QuarantineStats struct {
	Group    string `json:"group"`    // executor group
	Policy   string `json:"policy"`   // name:version
	API      string `json:"api"`      // name of the API
	Instance string `json:"instance"` // id of the policy instance
	Deaths   int    `json:"deaths"`   // of processes, while it ran
	LeftMs   int64  `json:"leftMs"`   // until it is tried again
	HeldAt   string `json:"heldAt"`   // FILE:LINE at which it held the interpreter of a process; "": processes crashed
}

// Quarantined are the policy instances that are not executed now, because processes crash while they run, by group, API
// and instance.
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
