package recording

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// placeTime is how long a recording waits for the place of an execution that was late. The exchange does not.
const placeTime = 500 * time.Millisecond

// locating is the cause of a failure whose place is told later. file is "" where it is not known.
type locating interface {
	error
	Located(tell func(file string, line int))
}

// awaitPlace has the recording wait for the failure's place, if it is still to come.
func (d *draft) awaitPlace(turn chain.Turn, failure *v1alpha.Failure) {
	late, ok := errors.AsType[locating](failure.Cause)
	if !ok {
		return
	}
	d.places++
	var once sync.Once
	tell := func(file string, line int) { once.Do(func() { d.placed(turn, file, line) }) }
	timer := time.AfterFunc(placeTime, func() { tell("", 0) })
	late.Located(func(file string, line int) {
		timer.Stop()
		tell(file, line)
	})
}

// placed gives the failure of the turn its place.
func (d *draft) placed(turn chain.Turn, file string, line int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if x := d.find(turn); x != nil && file != "" {
		failure := *x.execution.Failure
		failure.File, failure.Line = file, line
		failure.Message = fmt.Sprintf("%s; it was at %s:%d", failure.Message, file, line)
		x.execution.Failure = &failure
	}
	d.places--
	d.finishWhenDone()
}
