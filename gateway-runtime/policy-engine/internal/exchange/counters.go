package exchange

import (
	"context"
	"log/slog"
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/chain"
)

// Counters is the Observer that counts, and logs what fails, each failure once. What it counts is read as JSON and as
// metrics; durations it tells its Meter.
type Counters struct {
	log   *slog.Logger
	meter atomic.Pointer[metering] // nil: there is none

	began, unknownChain atomic.Uint64

	executions table[*executionCounter]
	operations table[*exchangeCounter]
	identities identities
	gone       [3]uint64 // exchanges, as chain.Result, of counters that were dropped; the table's mutex guards it
}

// NewCounters makes counters that are all zero.
func NewCounters(log *slog.Logger) *Counters { return &Counters{log: log} }

// Stats are the counters of exchanges since the start.
type Stats struct {
	Exchanges    uint64 `json:"exchanges"`
	Active       int64  `json:"active"`
	UnknownChain uint64 `json:"unknownChain"` // answered 503
	Cancelled    uint64 `json:"cancelled"`    // the client went away
	Failed       uint64 `json:"failed"`       // ended with an error: a fault of the engine's or the proxy's
}

// Stats reads the counters of exchanges.
func (c *Counters) Stats() Stats {
	c.operations.mutex.Lock()
	ended := c.gone
	for one := range c.operations.all {
		for n := range ended {
			ended[n] += one.results[n].Load()
		}
	}
	c.operations.mutex.Unlock()
	began := c.began.Load() // read last: none has ended that is not among them
	return Stats{
		Exchanges: began, Active: int64(began - ended[chain.Completed] - ended[chain.Cancelled] - ended[chain.Failed]),
		UnknownChain: c.unknownChain.Load(), Cancelled: ended[chain.Cancelled], Failed: ended[chain.Failed],
	}
}

// APIRemoved drops the counters of an API: those that no chain uses at once, the others with their last chain.
func (c *Counters) APIRemoved(api string) {
	c.executions.removeAPI(api)
	c.operations.removeAPI(api)
	c.identities.remove(api)
}

// ---------------------------------------------------------------- Observer

// ExchangeBegan counts.
func (c *Counters) ExchangeBegan() { c.began.Add(1) }

// ChainUnknown counts and logs.
func (c *Counters) ChainUnknown(unknown UnknownChain) {
	c.unknownChain.Add(1)
	c.log.Error("unknown chain", "requestId", unknown.RequestID, "chain", unknown.ChainID, "route", unknown.Route)
}

// ExchangeEnded logs a failure.
func (c *Counters) ExchangeEnded(exchange Exchange) {
	if exchange.Result == chain.Failed {
		c.log.Error("exchange failed", "requestId", exchange.RequestID, "chain", exchange.ChainID, "reason", exchange.Err.Error())
	}
}

// MessageRefused logs.
func (c *Counters) MessageRefused(refused chain.RefusedMessage) {
	c.log.Warn(refused.Phase+" refused", "requestId", refused.RequestID, "reason", refused.Reason, "phase", refused.Phase,
		"api", refused.API, "operation", refused.Operation)
}

// logFailure logs a failure that is not in the log already: there it is only for debugging.
func logFailure(log *slog.Logger, labels chain.Labels, execution chain.Execution) {
	failure, level, message := execution.Failure, slog.LevelError, "policy failed"
	if labels.Shadow {
		message = "shadow policy failed"
	}
	switch {
	case failure.Logged:
		level = slog.LevelDebug
	case execution.Continued, labels.Shadow:
		level = slog.LevelWarn
	}
	attributes := []slog.Attr{
		slog.String("requestId", execution.RequestID), slog.String("policy", labels.Policy),
		slog.String("class", string(failure.Class)), slog.String("reason", failure.Message),
		slog.String("phase", execution.Phase), slog.String("api", labels.API),
		slog.String("operation", labels.Operation), slog.Bool("continued", execution.Continued),
	}
	if failure.Cause != nil {
		attributes = append(attributes, slog.String("cause", failure.Cause.Error()))
	}
	log.LogAttrs(context.Background(), level, message, attributes...)
}
