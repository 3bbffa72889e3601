// Package admin answers an operator's requests to a policy engine, as JSON over HTTP on a private socket: GET /healthz, /ready,
// /stats, /chains, /clusters, /notes and /executors; POST /executors switches to other executor processes, POST /executors/hold
// reports the policy that holds the interpreter of one, POST /gateway another Gateway, POST /log-level changes the log level;
// POST /logs exports log lines, and GET /logs counts them; POST /drain reports how far a drain is, and is answered with what is
// wanted; POST /handover leaves the node's updates to another engine. /recordings and /exchanges are those of internal/recording.
package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/logexport"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/node/draining"
	"gatewright.dev/policy-engine/internal/notes"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/policy-engine/internal/tracing"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

const maxLogBytes = 4 << 20 // of one POST /logs

// Sources are the functions that produce the answers. All are called from any goroutine.
type Sources struct {
	Ready     func() bool
	Node      func() node.Stats
	Clusters  func() map[string][]string // the answer of /clusters: Envoy's, by API
	Notes     func() []notes.Note        // the answer of /notes: the faults of the node
	XDS       func() xds.Stats
	Exchanges func() exchange.Stats
	Policies  func() []exchange.ExecutionStats
	Shadows   func() []exchange.ShadowStats
	Bodies    func() chain.BudgetStats
	Executors func() []pythonbridge.ProcessStats
	Table     *chain.Table
	Listener  func() string       // HOST:PORT of the node's admin listener; "": there is none
	Recorder  *recording.Recorder // of /recordings and /exchanges

	Generation  func() uint64
	Quarantined func() []pythonbridge.QuarantineStats
	Traces      func() tracing.Stats
	Store       func() store.Stats
	Deploy      func(context.Context, Deployment) error
	RecordHold  func(pythonbridge.InterpreterHold) (instance string, err error)
	Draining    *draining.State
	Gateway     func(context.Context) error // reads the Gateway's file again
	LogLevel    func(ctx context.Context, component, level string) error
	HandOver    func(ctx context.Context, away bool) error // returns once another engine of the node may start, or this one goes on
	Logs        *logexport.Exporter
	Secrets     func() *nodev1.Redaction // the Gateway's names of secrets, or nil

	MetricsFailing func() map[string]string // sources of metrics that failed at the last scrape, with the reason
}

// Deployment is the body of POST /executors: the executor processes to use from now on. It is answered once they serve or fail.
type Deployment struct {
	Generation uint64              `json:"generation"` // the present one, to replace single processes; or a later one
	Manifest   string              `json:"manifest"`   // path of the generation's manifest.json; empty: unchanged
	Executors  map[string][]string `json:"executors"`  // addresses, "unix:/path", by group
	// Superseded are Python policies, as name:version, of which the manifest has another definition, or none. The controller
	// will replace the APIs that use them; until then the leaving processes go on with them.
	Superseded []string `json:"superseded"`
}

// LogLevel is the body of POST /log-level, and of its answer.
type LogLevel struct {
	Component string `json:"component"` // policy-engine, or python-executor for all executor processes
	Level     string `json:"level"`     // debug, info, warning or error: the lowest level that is logged
}

// Executors is the answer of GET and POST /executors. It contains leaving processes until they are done.
type Executors struct {
	Generation  uint64                         `json:"generation"`
	Processes   []pythonbridge.ProcessStats    `json:"processes"`
	Quarantined []pythonbridge.QuarantineStats `json:"quarantined"`
}

// Hold is the answer of POST /executors/hold.
type Hold struct {
	Instance string `json:"instance"` // that was put under quarantine for it; "": none, or it was already
}

// Refusal is the answer of POST /executors, /executors/hold, /gateway and /log-level with status 409: nothing has changed.
type Refusal struct {
	Reason string `json:"reason"`
}

// Stats is the answer of /stats.
type Stats struct {
	Node        node.Stats                     `json:"node"`
	XDS         xds.Stats                      `json:"xds"`
	ExtProc     exchange.Stats                 `json:"extProc"`
	Bodies      chain.BudgetStats              `json:"bodies"`
	Executors   []pythonbridge.ProcessStats    `json:"executors"`
	Quarantined []pythonbridge.QuarantineStats `json:"quarantined"`
	Policies    []exchange.ExecutionStats      `json:"policies"` // by policy, API and operation
	Shadows     []exchange.ShadowStats         `json:"shadows"`  // as policies
	Listener    string                         `json:"listener"` // HOST:PORT of the node's admin listener; "": there is none
	Traces      tracing.Stats                  `json:"traces"`
	Store       store.Stats                    `json:"store"`
	Goroutines  int                            `json:"goroutines"`

	// MetricsFailing are the sources of metrics that failed at the last scrape, each with the reason.
	MetricsFailing map[string]string `json:"metricsFailing,omitempty"`
}

// Chain is a chain in the answer of /chains, which is a list of them.
type Chain struct {
	ID             string                       `json:"id"`
	API            string                       `json:"api"`
	Operation      string                       `json:"operation"`
	ProcessingMode v1alpha.ProcessingModeConfig `json:"processingMode"`
	Active         int64                        `json:"active"` // exchanges under way
	Instances      []Instance                   `json:"instances"`
}

// Instance is a policy instance of a Chain.
type Instance struct {
	ID     string `json:"id"`
	Policy string `json:"policy"` // name:version
	Active int64  `json:"active"` // its hooks under way, including late ones, in all chains that share it
	Shadow bool   `json:"shadow,omitempty"`
}

// Handler serves these paths.
func Handler(sources Sources) http.Handler {
	mux := http.NewServeMux()
	HandleHealth(mux, func() string {
		if sources.Ready() {
			return ""
		}
		return NotReady
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.Stats()) })
	mux.HandleFunc("GET /chains", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.Chains()) })
	mux.HandleFunc("GET /clusters", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.Clusters()) })
	mux.HandleFunc("GET /notes", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.Notes()) })
	mux.HandleFunc("GET /executors", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.executors()) })
	mux.HandleFunc("POST /executors", sources.deploy)
	mux.HandleFunc("POST /executors/hold", sources.recordHold)
	mux.HandleFunc("POST /drain", sources.reportDrain)
	mux.HandleFunc("POST /handover", sources.handOver)
	mux.HandleFunc("GET /logs", sources.whenReady(func(*http.Request) (any, error) { return sources.logs(), nil }))
	mux.HandleFunc("POST /logs", sources.whenReady(sources.exportLogs))
	mux.HandleFunc("POST /log-level", sources.setLogLevel)
	mux.HandleFunc("POST /gateway", func(w http.ResponseWriter, r *http.Request) {
		if err := sources.Gateway(r.Context()); err != nil {
			answer(w, http.StatusConflict, Refusal{err.Error()})
			return
		}
		answer(w, http.StatusOK, sources.Node().Gateway)
	})
	sources.Recorder.Handle(mux)
	return mux
}

// NotReady is the obstacle of a node that has not started completely.
const NotReady = "it has not come up yet"

// HandleHealth serves /healthz and /ready. obstacle returns why requests are not served normally; "": they are.
func HandleHealth(mux *http.ServeMux, obstacle func() string) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, state{State: "ok"}) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if reason := obstacle(); reason != "" {
			answer(w, http.StatusServiceUnavailable, state{"not ready", reason})
		} else {
			answer(w, http.StatusOK, state{State: "ready"})
		}
	})
}

func (s Sources) executors() Executors {
	return Executors{s.Generation(), s.Executors(), s.Quarantined()}
}

func (s Sources) deploy(w http.ResponseWriter, r *http.Request) {
	var deployment Deployment
	if err := decode(w, r, &deployment); err != nil {
		answer(w, http.StatusBadRequest, Refusal{"expected a deployment as JSON: " + err.Error()})
		return
	}
	if err := s.Deploy(r.Context(), deployment); err != nil {
		answer(w, http.StatusConflict, Refusal{err.Error()})
		return
	}
	answer(w, http.StatusOK, s.executors())
}

func (s Sources) recordHold(w http.ResponseWriter, r *http.Request) {
	var hold pythonbridge.InterpreterHold
	if err := decode(w, r, &hold); err != nil {
		answer(w, http.StatusBadRequest, Refusal{"expected a hold as JSON: " + err.Error()})
		return
	}
	instance, err := s.RecordHold(hold)
	if err != nil {
		answer(w, http.StatusConflict, Refusal{err.Error()})
		return
	}
	answer(w, http.StatusOK, Hold{instance})
}

// Drain is the body of POST /drain: how far the supervisor is. The answer is what it is to do.
type Drain struct {
	Phase draining.Phase `json:"phase"`
}

func (s Sources) reportDrain(w http.ResponseWriter, r *http.Request) {
	var drain Drain
	if err := decode(w, r, &drain); err != nil || !slices.Contains(draining.Phases, drain.Phase) {
		answer(w, http.StatusBadRequest, Refusal{fmt.Sprintf("expected a phase as JSON, one of %q", draining.Phases)})
		return
	}
	answer(w, http.StatusOK, s.Draining.Report(drain.Phase))
}

// Handover is the body of POST /handover, and of its answer.
type Handover struct {
	Away bool `json:"away"` // another engine is about to start; false: it did not, and this one goes on
}

func (s Sources) handOver(w http.ResponseWriter, r *http.Request) {
	var handover Handover
	if err := decode(w, r, &handover); err != nil {
		answer(w, http.StatusBadRequest, Refusal{"expected a handover as JSON: " + err.Error()})
		return
	}
	if err := s.HandOver(r.Context(), handover.Away); err != nil {
		answer(w, http.StatusConflict, Refusal{err.Error()})
		return
	}
	answer(w, http.StatusOK, handover)
}

func (s Sources) setLogLevel(w http.ResponseWriter, r *http.Request) {
	var change LogLevel
	if err := decode(w, r, &change); err != nil {
		answer(w, http.StatusBadRequest, Refusal{"expected a component and a level as JSON: " + err.Error()})
		return
	}
	if err := s.LogLevel(r.Context(), change.Component, change.Level); err != nil {
		answer(w, http.StatusConflict, Refusal{err.Error()})
		return
	}
	answer(w, http.StatusOK, change)
}

// whenReady answers 503 until the engine has its Gateway, which decides whether log lines are exported.
func (s Sources) whenReady(produce func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.Ready() {
			answer(w, http.StatusServiceUnavailable, state{"not ready", NotReady})
			return
		}
		value, err := produce(r)
		if err != nil {
			answer(w, http.StatusBadRequest, Refusal{err.Error()})
			return
		}
		answer(w, http.StatusOK, value)
	}
}

// Logs is the answer of GET /logs.
type Logs struct {
	logexport.Stats
	Redaction *SecretNames `json:"redaction"` // null: unknown
}

// SecretNames are the names whose values are secret.
type SecretNames struct {
	Headers         []string `json:"headers"`
	QueryParameters []string `json:"queryParameters"`
	Fields          []string `json:"fields"`
}

func (s Sources) logs() Logs {
	logs := Logs{Stats: s.Logs.Stats()}
	if secrets := s.Secrets(); secrets != nil {
		orEmpty := func(secrets []string) []string { return append([]string{}, secrets...) } // never null
		logs.Redaction = &SecretNames{orEmpty(secrets.GetHeaders()), orEmpty(secrets.GetQueryParameters()), orEmpty(secrets.GetFields())}
	}
	return logs
}

// exportLogs exports the log lines in the body.
func (s Sources) exportLogs(r *http.Request) (any, error) {
	lines, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxLogBytes))
	if err != nil {
		return nil, fmt.Errorf("expected log lines, at most %d bytes: %w", maxLogBytes, err)
	}
	s.Logs.Export(lines)
	return s.Logs.Stats(), nil
}

func decode[T any](w http.ResponseWriter, r *http.Request, into *T) error {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	body.DisallowUnknownFields()
	return body.Decode(into)
}

// Server is an HTTP server for Handler, ready to Serve.
func Server(sources Sources) *http.Server {
	return &http.Server{Handler: Handler(sources), ReadHeaderTimeout: 5 * time.Second}
}

type state struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

func answer[T any](w http.ResponseWriter, status int, value T) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		slog.Debug("admin answer not sent", "error", err.Error())
	}
}

// Stats is the answer of GET /stats.
func (s Sources) Stats() Stats {
	return Stats{Node: s.Node(), XDS: s.XDS(), ExtProc: s.Exchanges(), Bodies: s.Bodies(), Executors: s.Executors(),
		Quarantined: s.Quarantined(), Policies: s.Policies(), Shadows: s.Shadows(), Listener: s.Listener(), Traces: s.Traces(), Store: s.Store(), Goroutines: runtime.NumGoroutine(),
		MetricsFailing: s.MetricsFailing()}
}

// Chains is the answer of GET /chains.
func (s Sources) Chains() []Chain {
	chains := []Chain{}
	for _, c := range s.Table.All() {
		view := Chain{ID: c.ID(), API: c.API(), Operation: c.Operation(), ProcessingMode: c.Mode(), Active: c.Active()}
		for _, instance := range c.Instances() {
			view.Instances = append(view.Instances, Instance{instance.ID(), instance.Name(), instance.Active(), instance.Settings().Shadow})
		}
		chains = append(chains, view)
	}
	slices.SortFunc(chains, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.ID, b.ID))
	})
	return chains
}
