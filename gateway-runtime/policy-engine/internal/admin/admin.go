// Package admin answers the operator's questions to a policy engine, as JSON over HTTP on a private socket: GET
// /healthz, /ready, /stats and /chains.
package admin

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Sources are where the answers come from. All are called from any goroutine.
type Sources struct {
	Ready     func() bool
	Node      func() node.Stats
	XDS       func() xds.Stats
	ExtProc   func() extproc.Stats
	Executors func() []pythonbridge.ProcessStats
	Table     *chain.Table
}

// Stats is the answer of /stats.
type Stats struct {
	Node      node.Stats                            `json:"node"`
	XDS       xds.Stats                             `json:"xds"`
	ExtProc   extproc.Stats                         `json:"extProc"`
	Executors []pythonbridge.ProcessStats           `json:"executors"`
	Policies  map[string]map[string]InstanceCounter `json:"policies"` // by name:version, then by instance id
}

// InstanceCounter is a policy instance in /stats.
type InstanceCounter struct {
	API string `json:"api"`
	chain.InstanceStats
}

// Chain is a chain in the answer of /chains, which is a list of them.
type Chain struct {
	ID             string                       `json:"id"`
	API            string                       `json:"api"`
	Operation      string                       `json:"operation"`
	ProcessingMode v1alpha.ProcessingModeConfig `json:"processingMode"`
	Blocks         bool                         `json:"blocks"`
	Active         int64                        `json:"active"` // exchanges under way
	Instances      []Instance                   `json:"instances"`
}

// Instance is a policy instance of a Chain.
type Instance struct {
	ID     string `json:"id"`
	Policy string `json:"policy"` // name:version
}

// Handler serves the four paths.
func Handler(sources Sources) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, state{"ok"}) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if sources.Ready() {
			answer(w, http.StatusOK, state{"ready"})
		} else {
			answer(w, http.StatusServiceUnavailable, state{"not ready"})
		}
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.stats()) })
	mux.HandleFunc("GET /chains", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sources.chains()) })
	return mux
}

// Server is an HTTP server for Handler, ready to Serve.
func Server(sources Sources) *http.Server {
	return &http.Server{Handler: Handler(sources), ReadHeaderTimeout: 5 * time.Second}
}

type state struct {
	State string `json:"state"`
}

func answer[T any](w http.ResponseWriter, status int, value T) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		slog.Debug("admin answer not sent", "error", err.Error())
	}
}

func (s Sources) stats() Stats {
	policies := map[string]map[string]InstanceCounter{}
	for _, c := range s.Table.All() {
		for _, instance := range c.Instances() {
			if policies[instance.Name()] == nil {
				policies[instance.Name()] = map[string]InstanceCounter{}
			}
			policies[instance.Name()][instance.ID()] = InstanceCounter{c.API(), instance.Stats()}
		}
	}
	return Stats{Node: s.Node(), XDS: s.XDS(), ExtProc: s.ExtProc(), Executors: s.Executors(), Policies: policies}
}

func (s Sources) chains() []Chain {
	all := []Chain{}
	for _, c := range s.Table.All() {
		view := Chain{ID: c.ID(), API: c.API(), Operation: c.Operation(), ProcessingMode: c.Mode(), Blocks: c.Blocks(), Active: c.Active()}
		for _, instance := range c.Instances() {
			view.Instances = append(view.Instances, Instance{instance.ID(), instance.Name()})
		}
		all = append(all, view)
	}
	slices.SortFunc(all, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.ID, b.ID))
	})
	return all
}
