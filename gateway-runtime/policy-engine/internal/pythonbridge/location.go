package pythonbridge

import (
	"sync"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// maxLocations bounds the executions whose place a process has yet to tell.
const maxLocations = 1024

// location is where an execution was when its time was over. Its process says so a moment later, and no exchange waits for
// that. It is the cause of the execution's failure, for those who do: internal/recording.
type location struct {
	mutex sync.Mutex
	known bool
	file  string
	line  int
	tell  func(file string, line int) // nil: nobody waits
}

func (l *location) Error() string { return "its process says where it was" }

// Located has tell called once the place is known, from another goroutine. file is "" where the process does not know it.
func (l *location) Located(tell func(file string, line int)) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.known {
		go tell(l.file, l.line)
		return
	}
	l.tell = tell
}

func (l *location) set(file string, line int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.known, l.file, l.line = true, file, line
	if l.tell != nil {
		go l.tell(file, line)
	}
}

// locations are those that a process has yet to tell, by the execution's id.
type locations map[uint64]*location

// add returns a new one; nil where there are too many.
func (l locations) add(id uint64) *location {
	if len(l) >= maxLocations {
		return nil
	}
	made := &location{}
	l[id] = made
	return made
}

func (l locations) accept(located []*executorv1.Located) {
	for _, one := range located {
		if waiting := l[one.GetId()]; waiting != nil {
			delete(l, one.GetId())
			waiting.set(one.GetFile(), int(one.GetLine()))
		}
	}
}
