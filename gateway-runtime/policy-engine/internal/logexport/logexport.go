// Package logexport sends the log lines of a node to a collector by OTLP. The supervisor passes all lines to the engine;
// the Gateway configures the collector. A collector that is down or slow delays nothing: excess lines are dropped and counted.
package logexport

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

const (
	mostWaiting      = 8192     // lines waiting for a collector
	mostWaitingBytes = 16 << 20 // bytes of these lines
	batchLines       = 512
	batchInterval    = time.Second
	flushTimeout     = 3 * time.Second // for the waiting lines when the collector changes, or the engine ends
)

// Stats is the answer of GET and POST /logs on the admin socket. Lines count from the start of the engine's process.
type Stats struct {
	Exporting bool   `json:"exporting"` // a collector is configured
	Exported  uint64 `json:"exported"`  // accepted by a collector
	Failed    uint64 `json:"failed"`    // lost because the collector was down or refused them
	Dropped   uint64 `json:"dropped"`   // lost because too many waited
	Waiting   int64  `json:"waiting"`
}

// Exporter sends lines to the collector that Set configures. New → Set, Export, Stats → Close.
type Exporter struct {
	nodeID string
	log    *slog.Logger
	counts counts

	mu       sync.Mutex
	settings *nodev1.Logging
	current  *pipeline // nil: no collector
	closing  sync.WaitGroup
}

type counts struct {
	exported, failed, dropped atomic.Uint64
	waiting                   atomic.Int64
}

// New makes an exporter without a collector. nodeID is service.instance.id of all lines.
func New(nodeID string, log *slog.Logger) *Exporter { return &Exporter{nodeID: nodeID, log: log} }

// Set configures the collector; nil, or no endpoint: none. It waits neither for a connection nor until the
// previous collector has received its lines.
func (e *Exporter) Set(settings *nodev1.Logging) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if proto.Equal(settings, e.settings) {
		return
	}
	e.settings = settings
	e.closeInBackground(e.current)
	e.current = nil
	if settings.GetEndpoint() == "" {
		return
	}
	next, err := newPipeline(settings, e.nodeID, &e.counts, e.log)
	if err != nil {
		e.log.Error("log lines are not exported", "error", err.Error())
		return
	}
	e.current = next
	e.log.Info("log lines are exported", "collector", settings.GetEndpoint())
}

// closeInBackground ends a pipeline in the background.
func (e *Exporter) closeInBackground(old *pipeline) {
	if old == nil {
		return
	}
	e.closing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		old.close(ctx)
	})
}

// Export queues lines in the form of all log lines, each with its line end. Other lines become messages. It does not wait for the
// collector.
func (e *Exporter) Export(lines []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil {
		e.current.emit(lines)
	}
}

// Stats returns the counters of lines.
func (e *Exporter) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{Exporting: e.current != nil, Exported: e.counts.exported.Load(), Failed: e.counts.failed.Load(),
		Dropped: e.counts.dropped.Load(), Waiting: e.counts.waiting.Load()}
}

// Close sends the waiting lines, for 3 s at most.
func (e *Exporter) Close() {
	e.mu.Lock()
	e.closeInBackground(e.current)
	e.current = nil
	e.mu.Unlock()
	e.closing.Wait()
}
