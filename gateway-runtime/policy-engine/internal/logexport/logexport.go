// Package logexport sends the log lines of a node to a collector by OTLP. The supervisor has all lines, and hands them in;
// the Gateway says where they go. A collector that is away, or slow, costs nobody anything: what does not fit is counted.
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
	mostWaiting      = 8192     // lines that a collector has not taken yet
	mostWaitingBytes = 16 << 20 // of these
	batchLines       = 512
	batchInterval    = time.Second
	goodbyeTimeout   = 3 * time.Second // for what waits when the collector changes, or the engine ends
)

// Stats is the answer of GET and POST /logs on the admin socket. Lines count from the start of the engine's process.
type Stats struct {
	Exporting bool   `json:"exporting"` // there is a collector that is to have them
	Exported  uint64 `json:"exported"`  // a collector has taken them
	Failed    uint64 `json:"failed"`    // none has: it was away, or refused them
	Dropped   uint64 `json:"dropped"`   // too many waited
	Waiting   int64  `json:"waiting"`
}

// Exporter sends lines to the collector that Set names. New → Set, Take, Stats → Close.
type Exporter struct {
	nodeID string
	log    *slog.Logger
	counts counts

	mu       sync.Mutex
	settings *nodev1.Logging
	current  *pipeline // nil: there is no collector
	closing  sync.WaitGroup
}

type counts struct {
	exported, failed, dropped atomic.Uint64
	waiting                   atomic.Int64
}

// New makes an exporter that sends nothing yet. nodeID is service.instance.id of all lines.
func New(nodeID string, log *slog.Logger) *Exporter { return &Exporter{nodeID: nodeID, log: log} }

// Set says who is to have the lines from now on; nil, or no endpoint: nobody. It does not wait for a connection, nor for
// what the collector before is still to be sent.
func (e *Exporter) Set(settings *nodev1.Logging) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if proto.Equal(settings, e.settings) {
		return
	}
	e.settings = settings
	e.leave(e.current)
	e.current = nil
	if settings.GetEndpoint() == "" {
		return
	}
	made, err := newPipeline(settings, e.nodeID, &e.counts, e.log)
	if err != nil {
		e.log.Error("log lines are not exported", "error", err.Error())
		return
	}
	e.current = made
	e.log.Info("log lines are exported", "collector", settings.GetEndpoint())
}

// leave ends a pipeline in the background.
func (e *Exporter) leave(left *pipeline) {
	if left == nil {
		return
	}
	e.closing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
		defer cancel()
		left.close(ctx)
	})
}

// Take takes lines in the form of all log lines, each with its end. Others are taken as messages. It does not wait for the
// collector.
func (e *Exporter) Take(lines []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil {
		e.current.take(lines)
	}
}

// Stats are what has become of the lines.
func (e *Exporter) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{Exporting: e.current != nil, Exported: e.counts.exported.Load(), Failed: e.counts.failed.Load(),
		Dropped: e.counts.dropped.Load(), Waiting: e.counts.waiting.Load()}
}

// Close sends what waits, for 3 s at most.
func (e *Exporter) Close() {
	e.mu.Lock()
	e.leave(e.current)
	e.current = nil
	e.mu.Unlock()
	e.closing.Wait()
}
