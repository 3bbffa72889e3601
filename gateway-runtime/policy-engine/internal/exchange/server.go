// Package exchange takes HTTP exchanges through the chains of their routes. It is what all front ends have in common:
// it finds the chain, answers for a route whose chain is unknown, fails closed, and tells an Observer. It knows no proxy.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// FrontEnd is one exchange, as a proxy's protocol brings it. Open comes first; then, if the route has a chain, CheckMode,
// those of chain.FrontEnd as they say, and Finish; else Answer alone.
//
// An error ends the exchange. One that wraps ErrGone says that the client or the proxy has cancelled it.
type FrontEnd interface {
	chain.FrontEnd
	// Open waits for the request's head.
	Open(ctx context.Context) (Opening, error)
	// PassRefusal lets the proxy's own refusal go on as it is. It comes instead of all but Open.
	PassRefusal() error
	// SetTrace says that the exchange is traced: the request is to go upstream with its traceparent, and the proxy is to tell
	// of the exchange when it has ended. It comes before all but Open, if at all.
	SetTrace(trace *Trace)
	// ShowResponse says that the response's head is looked at, though the chain does not see it: the proxy is asked for it
	// with the request, it goes on unchanged as soon as it has come, and Finish waits for that. show is told when it has come
	// and when it has gone on. Like SetTrace it comes before all but Open, if at all.
	ShowResponse(show func(side chain.Side, response chain.Head))
	// ShowProxyAnswer says that somebody wants to know whether the proxy has made the response by itself, and why. show is told
	// so before the chain sees the response. Like SetTrace it comes before all but Open, if at all.
	ShowProxyAnswer(show func(answer proxyanswer.Answer))
	// CheckMode refuses a route that does not deliver what the chain's mode asks for: else policies would not be called.
	CheckMode(c *chain.Chain) error
}

// Opening is how an exchange begins.
type Opening struct {
	RequestID string
	ChainID   string // of the route's chain
	Route     string // the route's name
	// Refusal is the status with which the proxy itself has refused the request, of which then nothing comes; else 0.
	Refusal int
	// TraceToken is what the client has presented to have the exchange traced; "": nothing.
	TraceToken string
}

// What Serve returns, and what front ends return to it.
var (
	// ErrGone is wrapped by a front end's error where the proxy has ended the exchange.
	ErrGone = errors.New("the proxy has ended the exchange")
	// ErrCancelled is an exchange that the client or the proxy has cancelled.
	ErrCancelled = errors.New("the exchange ended before its chain")
	// ErrFailed is an exchange that went wrong by a fault of the engine's or the proxy's.
	ErrFailed = errors.New("exchange failed")
)

// Server takes exchanges through their chains. Several front ends may share it.
type Server struct {
	table     *chain.Table
	observer  Observer
	chainless chain.ExchangeObserver // of exchanges without a chain
	watches   *Watches
}

// NewServer makes a server that finds its chains in table, and tells observer of all exchanges, and whom watches name of
// those that they look at; nil: nobody.
func NewServer(table *chain.Table, observer Observer, watches *Watches) *Server {
	if watches == nil {
		watches = &Watches{}
	}
	return &Server{table, observer, observer.Exchanges(chain.Labels{}), watches}
}

// Serve takes one exchange through its chain. It returns nil only after the last phase that the chain needs, else
// ErrCancelled or ErrFailed; then the front end must end the exchange in such a way that the proxy fails it.
func (s *Server) Serve(ctx context.Context, front FrontEnd) (err error) {
	s.observer.ExchangeBegan()
	opening, began, observed := Opening{}, chain.Now(), s.chainless
	var watcher Watcher
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
		err = s.end(ctx, &opening, observed, began, watcher, err)
	}()
	if opening, err = front.Open(ctx); err != nil {
		return err
	}
	if opening.Refusal != 0 && opening.Refusal != http.StatusForbidden {
		return front.PassRefusal() // of a filter before the engine's; the access log tells of it
	}
	c, why := s.find(&opening)
	if c != nil {
		defer c.Release()
	}
	if list := s.watches.list.Load(); list != nil {
		watcher = watch(ctx, *list, &opening, front, c)
	}
	if why != nil {
		return why.answer(front, opening.RequestID, watcher)
	}
	observed = c.Exchanges()
	if err := front.CheckMode(c); err != nil {
		return err
	}
	if c.CopiesBodies() {
		return runCopying(ctx, c, front, watcher)
	}
	if err := c.Run(ctx, front, watcher); err != nil {
		return err
	}
	return front.Finish(ctx)
}

// runCopying is for a chain that copies bodies: what has not come when all has gone does not come.
//
//go:noinline
func runCopying(ctx context.Context, c *chain.Chain, front FrontEnd, watcher Watcher) error {
	running, end := context.WithCancel(ctx)
	defer end()
	if err := c.Run(running, front, watcher); err != nil {
		return err
	}
	return front.Finish(ctx)
}

// find takes the chain of the exchange's route, for the caller to release, or says why it has none.
func (s *Server) find(opening *Opening) (*chain.Chain, *problem) {
	if opening.Refusal != 0 {
		return nil, &problem{opening.Refusal, "No connection is upgraded to this protocol here.", "proxy_refused"}
	}
	if c, ok := s.table.Acquire(opening.ChainID); ok {
		return c, nil
	}
	s.observer.ChainUnknown(UnknownChain{opening.RequestID, opening.ChainID, opening.Route})
	return nil, &problem{http.StatusServiceUnavailable, "The gateway is not ready for this route.", "unknown_chain"}
}

// end tells the observers, and whoever looks at the exchange, how it has ended, and returns what Serve does.
func (s *Server) end(
	ctx context.Context, opening *Opening, observed chain.ExchangeObserver, began time.Duration, watcher Watcher, err error,
) error {
	ended := Exchange{RequestID: opening.RequestID, ChainID: opening.ChainID, Err: err}
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, ErrGone) || errors.Is(err, context.Canceled):
		ended.Result, err = chain.Cancelled, ErrCancelled
	default:
		ended.Result, err = chain.Failed, ErrFailed
	}
	observed.Ended(ended.Result, chain.Now()-began)
	s.observer.ExchangeEnded(ended)
	if watcher != nil {
		watcher.ExchangeEnded(ended)
	}
	return err
}

// problem is why an exchange has no chain.
type problem struct {
	status          int
	detail, details string // for the client; for the access log
}

// answer ends the exchange with the problem.
func (p *problem) answer(front FrontEnd, requestID string, watcher Watcher) error {
	made := chain.Problem(p.status, p.detail, requestID)
	headers := v1alpha.Headers(made.Headers)
	err := front.Answer(chain.Answer{Status: p.status, Headers: headers, Body: made.Body, Details: p.details})
	if err == nil && watcher != nil {
		watcher.MessageHead(chain.Response, chain.Left, chain.View{
			HasResponse: true, Answered: true, Status: p.status, Details: p.details, ResponseHeaders: headers,
			ResponseBody: chain.BodyView{Pieces: [][]byte{made.Body}, Size: int64(len(made.Body)), Whole: true},
			Metadata:     &v1alpha.ExchangeMetadata{},
		})
	}
	return err
}
