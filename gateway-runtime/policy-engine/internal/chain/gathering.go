package chain

import (
	"context"
	"errors"
	"net/http"
)

// errUnfinished is why a request ends whose body has not come in whole in the time that the chain waits for it.
var errUnfinished = errors.New("the request's body did not come in whole in time")

// unfinished is what the client is told then, under the name that proxies have for it in the access log.
var unfinished = fault{status: http.StatusRequestTimeout, detail: "The request did not come in whole in the time that requests have."}

const unfinishedDetails = "request_overall_timeout"

// bounded is the context of a read that ends with errUnfinished after m.within, and so do the streams that it reads from.
// The caller calls done when it has read.
func (m *message) bounded(ctx context.Context) (bounded context.Context, done func()) {
	bounded, cancel := context.WithTimeoutCause(ctx, m.within, errUnfinished)
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
