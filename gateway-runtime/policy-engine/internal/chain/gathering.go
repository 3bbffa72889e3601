package chain

import (
	"context"
	"errors"
	"net/http"
)

// errUnfinished ends a request whose body has not come in whole within the time limit.
var errUnfinished = errors.New("the request's body did not arrive completely in time")

// unfinished is the answer then. Its details are the name that proxies use for it in the access log.
var unfinished = fault{status: http.StatusRequestTimeout, detail: "The request did not arrive completely within the time limit."}

const unfinishedDetails = "request_overall_timeout"

// readContext bounds a read of the body by m.within: then it ends with errUnfinished, and so do the streams that it
// reads from. The caller calls done after the read.
func (m *message) readContext(ctx context.Context) (bounded context.Context, done func()) {
	bounded, cancel := context.WithTimeoutCause(ctx, m.readLimit, errUnfinished)
	if m.stage == nil {
		return bounded, cancel
	}
	last := m.stage
	stop := context.AfterFunc(bounded, func() {
		for s := last; s != nil; s = s.before {
			s.cancel(context.Cause(bounded))
		}
	})
	return bounded, func() {
		stop()
		cancel()
	}
}
