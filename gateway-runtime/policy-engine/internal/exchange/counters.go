package exchange

import (
	"context"
	"log/slog"
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/chain"
)

// Counters is the Observer that counts, and logs what fails, each failure once.
type Counters struct {
	log *slog.Logger

	exchanges, unknownChain, cancelled, failed atomic.Uint64
	active                                     atomic.Int64

	executions executionTable
}

// NewCounters makes counters that are all zero.
func NewCounters(log *slog.Logger) *Counters {
	return &Counters{log: log, executions: executionTable{apis: map[string]map[chain.Labels]*executionCounter{}}}
}

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
	return Stats{
		Exchanges: c.exchanges.Load(), Active: c.active.Load(), UnknownChain: c.unknownChain.Load(),
		Cancelled: c.cancelled.Load(), Failed: c.failed.Load(),
	}
}

// ---------------------------------------------------------------- Observer

// ExchangeBegan counts.
func (c *Counters) ExchangeBegan() {
	c.exchanges.Add(1)
	c.active.Add(1)
}

// ChainUnknown counts and logs.
func (c *Counters) ChainUnknown(unknown UnknownChain) {
	c.unknownChain.Add(1)
	c.log.Error("unknown chain", "requestId", unknown.RequestID, "chain", unknown.ChainID, "route", unknown.Route)
}

// ExchangeEnded counts, and logs a failure.
func (c *Counters) ExchangeEnded(exchange Exchange) {
	defer c.active.Add(-1)
	switch exchange.Result {
	case Completed:
	case Cancelled:
		c.cancelled.Add(1)
	case Failed:
		c.failed.Add(1)
		c.log.Error("exchange failed", "requestId", exchange.RequestID, "chain", exchange.ChainID, "reason", exchange.Err.Error())
	}
}

// MessageRefused logs.
func (c *Counters) MessageRefused(refused chain.RefusedMessage) {
	c.log.Warn(refused.Phase+" refused", "requestId", refused.RequestID, "reason", refused.Reason, "phase", refused.Phase,
		"api", refused.API, "operation", refused.Operation)
}

// Executions returns the counter of these labels, which goes on from where it stands.
func (c *Counters) Executions(labels chain.Labels) chain.ExecutionObserver {
	return c.executions.open(labels, c.log)
}

// logFailure logs a failure that is not in the log already: there it is only for debugging.
func logFailure(log *slog.Logger, labels chain.Labels, execution chain.Execution) {
	failure, level := execution.Failure, slog.LevelError
	switch {
	case failure.Logged:
		level = slog.LevelDebug
	case execution.Continued:
		level = slog.LevelWarn
	}
	log.LogAttrs(context.Background(), level, "policy failed",
		slog.String("requestId", execution.RequestID), slog.String("policy", labels.Policy),
		slog.String("class", string(failure.Class)), slog.String("reason", failure.Message),
		slog.String("phase", execution.Phase), slog.String("api", labels.API),
		slog.String("operation", labels.Operation), slog.Bool("continued", execution.Continued))
}
