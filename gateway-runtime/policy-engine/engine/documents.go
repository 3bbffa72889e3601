package engine

import (
	"context"
	"encoding/json"
	"io"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/policy-engine/internal/notes"
	"gatewright.dev/policy-engine/internal/recording"
)

// adminSources are the sources of the admin socket's answers, once the engine is complete.
func (e *Engine) adminSources() admin.Sources {
	return admin.Sources{
		Ready: e.ready.Load, Node: e.node.Stats, Clusters: e.node.Clusters, Notes: e.notes, XDS: e.xds.Stats, Exchanges: e.counters.Stats,
		Policies: e.counters.ExecutionStats, Shadows: e.counters.ShadowStats, Bodies: e.bodies.Stats, Executors: e.groups.Stats,
		Generation: e.groups.Generation, Quarantined: e.groups.Quarantined, Traces: e.traces.Stats, Store: e.store.Stats, MetricsFailing: e.metrics.Failing, Deploy: e.deploy, RecordHold: e.groups.RecordHold, Gateway: e.reloadGateway, Table: e.table,
		Draining: e.node.Draining(), Listener: e.adminListener.Actual, LogLevel: e.setLogLevel, Logs: e.logs, Secrets: e.secretNames.Load,
		Recorder: e.recorder, HandOver: e.handOver,
	}
}

// documents are the node's documents that a controller may request: the same as the read-only ones of the admin
// listener and socket.
func (e *Engine) documents() recording.Documents {
	return recording.Documents{
		nodev1.Document_DOCUMENT_METRICS:  func(w io.Writer) error { return e.metrics.WriteText(w) },
		nodev1.Document_DOCUMENT_STATS:    asJSON(func() any { return e.adminSources().Stats() }),
		nodev1.Document_DOCUMENT_CHAINS:   asJSON(func() any { return e.adminSources().Chains() }),
		nodev1.Document_DOCUMENT_CLUSTERS: asJSON(func() any { return e.node.Clusters() }),
		nodev1.Document_DOCUMENT_NOTES:    asJSON(func() any { return e.notes() }),
	}
}

// notes are the node's problems. While Envoy does not answer there are none about upstreams.
func (e *Engine) notes() []notes.Note {
	targets, err := notes.Envoy{Socket: e.envoySocket()}.Targets(context.Background())
	if err != nil {
		e.options.Log.Debug("notes leave out upstreams: Envoy's targets could not be read", "error", err.Error())
	}
	stats := e.node.Stats()
	return notes.Make(&notes.Facts{
		Gateway: stats.Gateway, Certificates: stats.Certificates, Quarantined: e.groups.Quarantined(),
		MetricsFailing: e.metrics.Failing(), Store: e.store.Stats(), Refusal: stats.ControllerRefusal, Origin: stats.Origin, NoState: stats.NoState,
		Unresolved: e.node.Unresolved(), Clusters: e.node.Clusters(), Targets: targets,
	}, time.Now())
}

// envoySocket is Envoy's admin socket, from which its metrics are read; "": the engine has none.
func (e *Engine) envoySocket() string {
	for _, source := range e.options.MetricsSources {
		if source.Name == metrics.Envoy {
			return source.Socket
		}
	}
	return ""
}

func asJSON(of func() any) func(io.Writer) error {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(of()) }
}
