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
func (s *Server) Serve(ctx context.Context, front FrontEnd) error {
	var found Found
	s.Find(ctx, front, &found)
	return s.Run(ctx, front, &found)
}

// Found is what Find has found of an exchange.
type Found struct {
	opening  Opening
	began    time.Duration
	observed chain.ExchangeObserver
	watcher  Watcher
	row      *operations.Row // of a route that operations share
	chain    *chain.Chain    // acquired; nil: the exchange has none
	problem  *problem        // the reason that it has none; nil: there is none, or the exchange needs no chain
	err      error           // ends the exchange
}

// NeverWaits reports whether Run waits for nothing but the front end: it may run on a thread that must not block.
func (f *Found) NeverWaits() bool { return f.chain == nil || f.chain.NeverWaits() }

// Find is the first part of Serve: it opens the front end and finds the exchange's chain. Run must follow, even if the
// exchange cannot go on: it releases the chain, and notifies the observers of the exchange's end.
func (s *Server) Find(ctx context.Context, front FrontEnd, found *Found) {
	s.observer.ExchangeBegan()
	found.began, found.observed = chain.Now(), s.chainless
	defer func() {
		if cause := recover(); cause != nil {
			found.err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	opening := &found.opening
	if *opening, found.err = front.Open(ctx); found.err != nil || passesRefusal(s, opening) {
		return
	}
	var unattached *problem
	if found.row, unattached = s.findRow(opening, front); unattached != nil {
		found.problem = unattached
		return
	}
	if found.row != nil && found.row.ChainID == "" && opening.Refusal == 0 {
		return
	}
	found.chain, found.problem = s.find(opening)
	if list := s.watches.list.Load(); list != nil {
		found.watcher = watch(ctx, *list, opening, front, found.chain)
	}
}

// passesRefusal reports whether a filter of the proxy's before the engine's has refused the request: the refusal goes on
// unchanged, and the access log has it.
func passesRefusal(s *Server, opening *Opening) bool {
	return opening.Refusal != 0 && (opening.Refusal != http.StatusForbidden || s.attachments != nil)
}

// Run is the rest of Serve, of the exchange that Find has found.
func (s *Server) Run(ctx context.Context, front FrontEnd, found *Found) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
		if found.chain != nil {
			found.chain.Release()
		}
		err = s.end(ctx, found, err)
	}()
	switch row := found.row; {
	case found.err != nil:
		return found.err
	case passesRefusal(s, &found.opening):
		return front.PassRefusal()
	case found.problem != nil:
		return found.problem.answer(front, found.opening.RequestID, found.watcher)
	case found.chain != nil:
		return s.runChain(ctx, front, found)
	case row.Answer == nil:
		return pass(ctx, front)
	default:
		return front.Answer(ownAnswer(row.Answer, front.Request())) // the proxy's log reports it, as it does where there is no engine
	}
}

// runChain runs the exchange through its chain.
func (s *Server) runChain(ctx context.Context, front FrontEnd, found *Found) error {
	c := found.chain
	found.observed = c.Exchanges()
	if err := front.CheckMode(c); err != nil {
		return err
	}
	var own *chain.Answer
	if found.row != nil && found.row.Answer != nil {
		answer := ownAnswer(found.row.Answer, front.Request())
		own = &answer
	}
	if c.CopiesBodies() {
		return runCopying(ctx, c, front, found.watcher, own)
	}
	if err := c.Run(ctx, front, found.watcher, own); err != nil {
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
func (s *Server) end(ctx context.Context, found *Found, err error) error {
	ended := Exchange{RequestID: found.opening.RequestID, ChainID: found.opening.ChainID, Err: err}
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, ErrProxyCancelled) || errors.Is(err, context.Canceled):
		ended.Result, err = chain.Cancelled, ErrCancelled
	default:
		ended.Result, err = chain.Failed, ErrFailed
	}
	found.observed.Ended(ended.Result, chain.Now()-found.began)
	s.observer.ExchangeEnded(ended)
	if found.watcher != nil {
		found.watcher.ExchangeEnded(ended)
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
