// Package admin answers the operator's questions to a policy engine, as JSON over HTTP on a private socket: GET
// /healthz, /ready, /stats, /chains, /clusters, /notes and /executors; POST /executors makes other executor processes serve,
// POST /executors/hold names the policy that holds the interpreter of one, POST /gateway another Gateway, POST /log-level changes what is logged; GET /logs tells what has become of log lines
// that POST /logs brought to be exported. /recordings and /exchanges are those of internal/recording.
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
	"gatewright.dev/policy-engine/internal/notes"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/policy-engine/internal/tracing"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

const maxLogBytes = 4 << 20 // of one POST /logs

// Sources are where the answers come from. All are called from any goroutine.
type Sources struct {
	Ready     func() bool
	Node      func() node.Stats
	Clusters  func() map[string][]string // the answer of /clusters: Envoy's, by API
	Notes     func() []notes.Note        // the answer of /notes: what is not as it should be
	XDS       func() xds.Stats
	Exchanges func() exchange.Stats
	Policies  func() []exchange.ExecutionStats
	Shadows   func() []exchange.ShadowStats
	Bodies    func() chain.BudgetStats
	Executors func() []pythonbridge.ProcessStats
	Table     *chain.Table
	Listener  func() string       // where the node's admin listener listens, HOST:PORT; "": nowhere
	Recorder  *recording.Recorder // of /recordings and /exchanges

	Generation  func() uint64
	Quarantined func() []pythonbridge.QuarantineStats
	Traces      func() tracing.Stats
	Store       func() store.Stats
	Deploy      func(context.Context, Deployment) error
	RecordHold  func(pythonbridge.InterpreterHold) (instance string, err error)
	Gateway     func(context.Context) error // reads the Gateway's file again
	LogLevel    func(ctx context.Context, component, level string) error
	Logs        *logexport.Exporter
	Secrets     func() *nodev1.Redaction // names that the Gateway has, or nil

	MetricsFailing func() map[string]string // sources of metrics that told nothing at the last scrape, with the reason
}

// Deployment is the body of POST /executors: who is to serve from now on. The answer comes when they do, or will not.
type Deployment struct {
	Generation uint64              `json:"generation"` // the present one, to replace single processes; or a later one
	Manifest   string              `json:"manifest"`   // path of the generation's manifest.json; empty: as it is
	Executors  map[string][]string `json:"executors"`  // addresses, "unix:/path", by group
	// Superseded are Python policies, as name:version, of which the manifest has another definition, or none. The controller
	// has others in store for what runs of them; until these have come, the processes that leave go on with them.
	Superseded []string `json:"superseded"`
}

// LogLevel is the body of POST /log-level, and its answer where it was done.
type LogLevel struct {
	Component string `json:"component"` // policy-engine, or python-executor for all executor processes
	Level     string `json:"level"`     // debug, info, warning or error: the least that is logged
}

// Executors is the answer of GET and POST /executors. Processes that are leaving are in it until they are done.
type Executors struct {
	Generation  uint64                         `json:"generation"`
	Processes   []pythonbridge.ProcessStats    `json:"processes"`
	Quarantined []pythonbridge.QuarantineStats `json:"quarantined"`
}

// Hold is the answer of POST /executors/hold.
type Hold struct {
	Instance string `json:"instance"` // that is under quarantine for it; "": none, or it was already
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

	// MetricsFailing are the sources of metrics that told nothing at the last scrape, each with the reason.
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
	Active int64  `json:"active"` // its hooks that run, late ones too, in all chains that share it
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
	mux.HandleFunc("GET /logs", sources.whenReady(func(*http.Request) (any, error) { return sources.logs(), nil }))
	mux.HandleFunc("POST /logs", sources.whenReady(sources.takeLogs))
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

// NotReady is the obstacle of what has not come up yet.
const NotReady = "it has not come up yet"

// HandleHealth serves /healthz and /ready. obstacle says why requests are not served as they should be; "": they are.
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
	var wanted Deployment
	if err := decode(w, r, &wanted); err != nil {
		answer(w, http.StatusBadRequest, Refusal{"expected a deployment as JSON: " + err.Error()})
		return
	}
	if err := s.Deploy(r.Context(), wanted); err != nil {
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

func (s Sources) setLogLevel(w http.ResponseWriter, r *http.Request) {
	var wanted LogLevel
	if err := decode(w, r, &wanted); err != nil {
		answer(w, http.StatusBadRequest, Refusal{"expected a component and a level as JSON: " + err.Error()})
		return
	}
	if err := s.LogLevel(r.Context(), wanted.Component, wanted.Level); err != nil {
		answer(w, http.StatusConflict, Refusal{err.Error()})
		return
	}
	answer(w, http.StatusOK, wanted)
}

// whenReady answers 503 until the engine has its Gateway, and so knows whether log lines are exported.
func (s Sources) whenReady(found func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.Ready() {
			answer(w, http.StatusServiceUnavailable, state{"not ready", NotReady})
			return
		}
		value, err := found(r)
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
	Redaction *SecretNames `json:"redaction"` // null: the Gateway does not say
}

// SecretNames are the names whose values are secrets.
type SecretNames struct {
	Headers         []string `json:"headers"`
	QueryParameters []string `json:"queryParameters"`
	Fields          []string `json:"fields"`
}

func (s Sources) logs() Logs {
	logs := Logs{Stats: s.Logs.Stats()}
	if names := s.Secrets(); names != nil {
		listed := func(names []string) []string { return append([]string{}, names...) } // never null
		logs.Redaction = &SecretNames{listed(names.GetHeaders()), listed(names.GetQueryParameters()), listed(names.GetFields())}
	}
	return logs
}

// takeLogs takes log lines of the node, to be exported.
func (s Sources) takeLogs(r *http.Request) (any, error) {
	lines, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxLogBytes))
	if err != nil {
		return nil, fmt.Errorf("expected log lines, at most %d bytes: %w", maxLogBytes, err)
	}
	s.Logs.Take(lines)
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
	all := []Chain{}
	for _, c := range s.Table.All() {
		view := Chain{ID: c.ID(), API: c.API(), Operation: c.Operation(), ProcessingMode: c.Mode(), Active: c.Active()}
		for _, instance := range c.Instances() {
			view.Instances = append(view.Instances, Instance{instance.ID(), instance.Name(), instance.Active(), instance.Settings().Shadow})
		}
		all = append(all, view)
	}
	slices.SortFunc(all, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.ID, b.ID))
	})
	return all
}
