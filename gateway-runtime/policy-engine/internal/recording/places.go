package recording

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// placeTime is how long a recording waits for the place of a late execution's failure. The exchange does not wait.
const placeTime = 500 * time.Millisecond

// locating is the cause of a failure whose place is reported later. file is "" if it is unknown.
type locating interface {
	error
	Located(report func(file string, line int))
}

// awaitPlace delays the recording until the failure's place is known, if it is still to come.
func (d *draft) awaitPlace(turn chain.Turn, failure *v1alpha.Failure) {
	late, ok := errors.AsType[locating](failure.Cause)
	if !ok {
		return
	}
	d.places++
	var once sync.Once
	report := func(file string, line int) { once.Do(func() { d.setPlace(turn, file, line) }) }
	timer := time.AfterFunc(placeTime, func() { report("", 0) })
	late.Located(func(file string, line int) {
		timer.Stop()
		report(file, line)
	})
}

// setPlace sets the place of the turn's failure.
func (d *draft) setPlace(turn chain.Turn, file string, line int) {
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
