package exchange

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/chain"
)

// Counters is an Observer that counts, and logs each failure once. Its counts are read as JSON and as metrics;
// durations go to its Meter.
type Counters struct {
	log   *slog.Logger
	meter atomic.Pointer[metering] // nil: none

	began  atomic.Uint64
	engine Totals

	executions table[*executionCounter]
	operations table[*exchangeCounter]
	identities apiCounts // by method
	plans      apiCounts
	dropped    []uint64 // sums of dropped counters, by chain.ExchangeCount; the table's mutex guards it
}

// NewCounters makes counters that start at zero.
func NewCounters(log *slog.Logger) *Counters {
	return &Counters{log: log, identities: apiCounts{most: maxMethods}, plans: apiCounts{most: maxPlans}, engine: make(Totals, chain.EngineCounters.Size), dropped: make([]uint64, chain.ExchangeCounters.Size)}
}

// Stats are the counters of exchanges since the start.
type Stats struct {
	Exchanges    uint64 `json:"exchanges"`
	Active       int64  `json:"active"`
	UnknownChain uint64 `json:"unknownChain"` // answered 503
	Cancelled    uint64 `json:"cancelled"`    // the client or the proxy cancelled it
	Failed       uint64 `json:"failed"`       // ended with an error: a fault of the engine or the proxy
}

// Stats reads the counters of exchanges.
func (c *Counters) Stats() Stats {
	c.operations.mutex.Lock()
	totals := slices.Clone(c.dropped)
	for counter := range c.operations.all {
		counter.totals.AddTo(totals)
	}
	c.operations.mutex.Unlock()
	ended := func(result chain.Result) uint64 { return totals[chain.ExchangesEnded[result]] }
	began := c.began.Load() // read last, so that every ended exchange is included
	return Stats{
		Exchanges: began, Active: int64(began - ended(chain.Completed) - ended(chain.Cancelled) - ended(chain.Failed)),
		UnknownChain: c.engine[chain.UnknownChains].Load(), Cancelled: ended(chain.Cancelled), Failed: ended(chain.Failed),
	}
}

// EngineTotals are the totals of the whole engine, by chain.EngineCount.
func (c *Counters) EngineTotals() []uint64 { return c.engine.values() }

// APIRemoved drops the counters of an API: unused ones at once, the others with their last chain.
func (c *Counters) APIRemoved(api string) {
	c.executions.removeAPI(api)
	c.operations.removeAPI(api)
	c.identities.remove(api)
	c.plans.remove(api)
}

// ---------------------------------------------------------------- Observer

// ExchangeBegan counts an exchange.
func (c *Counters) ExchangeBegan() { c.began.Add(1) }

// Add adds to a counter.
func (c *Counters) Add(count chain.EngineCount, n uint64) { c.engine[count].Add(n) }

// ChainUnknown counts and logs the request.
func (c *Counters) ChainUnknown(unknown UnknownChain) {
	c.Add(chain.UnknownChains, 1)
	c.log.Error("unknown chain", "requestId", unknown.RequestID, "chain", unknown.ChainID, "route", unknown.Route)
}

// AttachedRefused counts and logs the request.
func (c *Counters) AttachedRefused(refused RefusedAttached) {
	c.Add(chain.AttachedRefused[refused.Reason], 1)
	reason, cure := "no API is attached to this name", "write the name in spec.attachTo of an Api, and wait until that is deployed"
	switch {
	case refused.Reason == UnnormalizedPath:
		reason, cure = "the path is not normalized", "set normalize_path and merge_slashes in that Envoy's connection manager"
	case refused.Reason == OutdatedProxy:
		reason, cure = refused.Outdated, "replace that Envoy by a newer one"
	case refused.Name == "":
		reason, cure = "Envoy has sent no route name", "send the request attribute xds.route_name, and give the route a name"
	}
	c.log.Error("request of an attached Envoy refused", "requestId", refused.RequestID, "name", refused.Name, "reason", reason, "cure", cure)
}

// ExchangeEnded logs a failure.
func (c *Counters) ExchangeEnded(exchange Exchange) {
	if exchange.Result == chain.Failed {
		c.log.Error("exchange failed", "requestId", exchange.RequestID, "chain", exchange.ChainID, "reason", exchange.Err.Error())
	}
}

// MessageRefused logs the refusal.
func (c *Counters) MessageRefused(refused chain.RefusedMessage) {
	c.log.Warn(refused.Phase+" refused", "requestId", refused.RequestID, "reason", refused.Reason, "phase", refused.Phase,
		"api", refused.API, "operation", refused.Operation)
}

// logFailure logs a failure. One that its process has logged already is for debugging only.
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
