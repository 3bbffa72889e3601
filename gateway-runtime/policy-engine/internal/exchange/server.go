// Package exchange runs HTTP exchanges through the chains of their routes. All front ends share it: it finds the chain,
// answers for a route whose chain is unknown, fails closed, and notifies an Observer. It knows no proxy.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// FrontEnd is one exchange in a proxy's protocol. Open comes first; then, if the route has a chain, CheckMode, the
// calls of chain.FrontEnd, and Finish; otherwise only Answer.
//
// An error ends the exchange. If it wraps ErrProxyCancelled, the client or the proxy has cancelled the exchange.
type FrontEnd interface {
	chain.FrontEnd
	// Open waits for the request's head.
	Open(ctx context.Context) (Opening, error)
	// PassRefusal forwards the proxy's own refusal unchanged. It replaces all calls but Open.
	PassRefusal() error
	// SetRoute has the proxy log the exchange by this route's name, in place of the name of a route that operations share.
	// Like SetTrace it comes right after Open, if at all.
	SetRoute(name string)
	// SetTrace makes the exchange traced: the request goes upstream with its traceparent, and the proxy reports the
	// exchange when it has ended. It comes right after Open, if at all.
	SetTrace(trace *Trace)
	// ShowResponse has the response's head shown to watchers although the chain does not see it: the proxy is asked for it
	// with the request, it goes on unchanged as soon as it has come, and Finish waits for that. show is called when it has
	// come and when it has gone on. Like SetTrace it comes right after Open, if at all.
	ShowResponse(show func(side chain.Side, response chain.Head))
	// ShowProxyAnswer has show called if the proxy has made the response by itself, with the reason, before the chain sees
	// the response. Like SetTrace it comes right after Open, if at all.
	ShowProxyAnswer(show func(answer proxyanswer.Answer))
	// CheckMode refuses a route that does not deliver what the chain's mode includes: its policies would not be called.
	CheckMode(c *chain.Chain) error
}

// Opening is the start of an exchange.
type Opening struct {
	RequestID string
	ChainID   string // of the route's chain; of a route that operations share: of their table
	Route     string // the route's name
	// Refusal is the status with which the proxy itself has refused the request, which then does not come; otherwise 0.
	Refusal int
	// TraceToken is the token that the client has presented to have the exchange traced; "": none.
	TraceToken string
	// Outdated says that the proxy is too old to be relied on, and what is expected; "": it is not, or that is unknown.
	Outdated string
}

// The errors of Serve and of front ends.
var (
	// ErrProxyCancelled is wrapped by a front end's error if the proxy has cancelled the exchange.
	ErrProxyCancelled = errors.New("the proxy has cancelled the exchange")
	// ErrCancelled is an exchange that the client or the proxy has cancelled.
	ErrCancelled = errors.New("the client or the proxy ended the exchange before its chain had ended")
	// ErrFailed is an exchange that failed through a fault of the engine or the proxy.
	ErrFailed = errors.New("exchange failed")
)

// Server runs exchanges through their chains. Several front ends may share it.
type Server struct {
	table      *chain.Table
	operations *operations.Tables
	observer   Observer
	chainless  chain.ExchangeObserver // of exchanges without a chain
	watches    *Watches

	attachments *operations.Attachments // of other Envoys' exchanges; nil: exchanges are of the node's own Envoy
}

// NewServer makes a server that finds its chains in table, and those of routes that operations share by tables (nil: there are
// no such routes). It notifies observer of all exchanges, and the watchers in watches of those that they watch; nil: none.
func NewServer(table *chain.Table, tables *operations.Tables, observer Observer, watches *Watches) *Server {
	if watches == nil {
		watches = &Watches{}
	}
	if tables == nil {
		tables = &operations.Tables{}
	}
	return &Server{table: table, operations: tables, observer: observer, chainless: observer.Exchanges(chain.Labels{}), watches: watches}
}

// Serve runs one exchange through its chain. It returns nil only after the last phase that the chain needs, otherwise
// ErrCancelled or ErrFailed; then the front end must end the exchange in a way that makes the proxy fail it.
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
	if opening.Refusal != 0 && (opening.Refusal != http.StatusForbidden || s.attachments != nil) {
		return front.PassRefusal() // by a filter before the engine's; the access log has it
	}
	row, unattached := s.findRow(&opening, front)
	if unattached != nil {
		return unattached.answer(front, opening.RequestID, nil)
	}
	if row != nil && row.ChainID == "" && opening.Refusal == 0 {
		if row.Answer == nil {
			return pass(ctx, front)
		}
		return front.Answer(ownAnswer(row.Answer, front.Request())) // the proxy's log reports it, as it does where there is no engine
	}
	c, refusal := s.find(&opening)
	if c != nil {
		defer c.Release()
	}
	if list := s.watches.list.Load(); list != nil {
		watcher = watch(ctx, *list, &opening, front, c)
	}
	if refusal != nil {
		return refusal.answer(front, opening.RequestID, watcher)
	}
	observed = c.Exchanges()
	if err := front.CheckMode(c); err != nil {
		return err
	}
	var own *chain.Answer
	if row != nil && row.Answer != nil {
		answer := ownAnswer(row.Answer, front.Request())
		own = &answer
	}
	if c.CopiesBodies() {
		return runCopying(ctx, c, front, watcher, own)
	}
	if err := c.Run(ctx, front, watcher, own); err != nil {
		return err
	}
	return front.Finish(ctx)
}

// runCopying runs a chain that copies bodies. Its context ends when all bodies have gone, which ends the copies.
//
//go:noinline
func runCopying(ctx context.Context, c *chain.Chain, front FrontEnd, watcher Watcher, own *chain.Answer) error {
	running, end := context.WithCancel(ctx)
	defer end()
	if err := c.Run(running, front, watcher, own); err != nil {
		return err
	}
	return front.Finish(ctx)
}

// findRow finds the operation of an exchange: of a route that an API's operations share, and of one of another Envoy's, whose
// exchange has a problem where it names no API.
func (s *Server) findRow(opening *Opening, front FrontEnd) (*operations.Row, *problem) {
	if s.attachments != nil {
		return s.findAttached(opening, front)
	}
	return s.findOperation(opening, front), nil
}

// find acquires the chain of the exchange's route, for the caller to release, or returns the problem of a route without
// one.
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

// end notifies the observers and the watcher of the exchange's result, and returns Serve's error.
func (s *Server) end(
	ctx context.Context, opening *Opening, observed chain.ExchangeObserver, began time.Duration, watcher Watcher, err error,
) error {
	ended := Exchange{RequestID: opening.RequestID, ChainID: opening.ChainID, Err: err}
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, ErrProxyCancelled) || errors.Is(err, context.Canceled):
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

// problem is the reason that an exchange has no chain.
type problem struct {
	status          int
	detail, details string // for the client; for the access log
}

// answer ends the exchange with the problem.
func (p *problem) answer(front FrontEnd, requestID string, watcher Watcher) error {
	response := chain.Problem(p.status, p.detail, requestID)
	headers := v1alpha.Headers(response.Headers)
	err := front.Answer(chain.Answer{Status: p.status, Headers: headers, Body: response.Body, Details: p.details})
	if err == nil && watcher != nil {
		watcher.MessageHead(chain.Response, chain.Left, chain.View{
			HasResponse: true, Answered: true, Status: p.status, Details: p.details, ResponseHeaders: headers,
			ResponseBody: chain.BodyView{Pieces: [][]byte{response.Body}, Size: int64(len(response.Body)), Whole: true},
			Metadata:     &v1alpha.ExchangeMetadata{},
		})
	}
	return err
}
