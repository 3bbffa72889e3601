package pythonbridge

import (
	"sync"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// maxLocations bounds the executions whose location a process has yet to send.
const maxLocations = 1024

// location is where an execution was when its timeout passed. The process reports it a moment later, which no exchange
// waits for. It is the cause of the execution's failure, for readers that do wait: internal/recording.
type location struct {
	mutex  sync.Mutex
	known  bool
	file   string
	line   int
	notify func(file string, line int) // nil: no reader waits
}

func (l *location) Error() string { return "its process reports where it was" }

// Located has notify called once the location is known, from another goroutine. file is "" if the process does not know
// it.
func (l *location) Located(notify func(file string, line int)) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.known {
		go notify(l.file, l.line)
		return
	}
	l.notify = notify
}

func (l *location) set(file string, line int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.known, l.file, l.line = true, file, line
	if l.notify != nil {
		go l.notify(file, line)
	}
}

// locations are those that a process has yet to send, by the execution's id.
type locations map[uint64]*location

// add returns a new location; nil if there are too many.
func (l locations) add(id uint64) *location {
	if len(l) >= maxLocations {
		return nil
	}
	added := &location{}
	l[id] = added
	return added
}

func (l locations) accept(located []*executorv1.Located) {
	for _, place := range located {
		if waiting := l[place.GetId()]; waiting != nil {
			delete(l, place.GetId())
			waiting.set(place.GetFile(), int(place.GetLine()))
		}
	}
}
