// Package metrics is what the engine tells Prometheus: of exchanges and executions, of the node, and, merged with these,
// what other processes of the node tell. docs/reference/metrics.md lists all names.
package metrics

import (
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"gatewright.dev/policy-engine/internal/exchange"
)

// namespace begins all names but those that come from elsewhere.
const namespace = "gatewright"

// component is the engine's, in the label component.
const component = "policy-engine"

// DefaultMaxSeries is how many series a metric may have where nothing is said.
const DefaultMaxSeries = 10_000

// Settings are what an operator chooses.
type Settings struct {
	Disabled          bool // nothing is observed of exchanges and executions
	MaxSeries         int  // of each metric of these; 0 is DefaultMaxSeries
	WithoutOperations bool // the label operation is empty
}

// Options are what Metrics are made of.
type Options struct {
	Counters *exchange.Counters
	Node     Node
	Sources  []Source // other processes, asked at each scrape
	Log      *slog.Logger
}

// Metrics are all that a node tells. New → Apply → Handler. All methods may be called from any goroutine.
type Metrics struct {
	options Options
	sources *sources

	mutex    sync.Mutex // of Apply and Add
	settings *Settings  // nil: none were applied
	added    []prometheus.Gatherer
	parts    atomic.Pointer[[]part]
}

// New makes metrics that observe nothing yet: Apply says what.
func New(options Options) *Metrics {
	m := &Metrics{options: options, sources: newSources(options.Sources, options.Log)}
	m.assemble(nil)
	return m
}

// Apply makes these the settings. Where they differ from those before, histograms begin anew; counters go on.
func (m *Metrics) Apply(settings Settings) {
	if settings.MaxSeries <= 0 {
		settings.MaxSeries = DefaultMaxSeries
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.settings != nil && *m.settings == settings {
		return
	}
	m.settings = &settings
	if settings.Disabled {
		m.options.Counters.SetMeter(nil)
		m.assemble(nil)
		return
	}
	meter := newMeter(settings, m.options.Counters)
	m.options.Counters.SetMeter(meter)
	m.assemble(meter)
}

// Add has what a gatherer gathers told too. Names that it shares with others are merged; those of its own processes must
// differ by a label.
func (m *Metrics) Add(gatherer prometheus.Gatherer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.added = append(m.added, gatherer)
	before := *m.parts.Load()
	parts := append(slices.Clone(before), part{gatherer: gatherer})
	m.parts.Store(&parts)
}

// part is one gatherer, and whose it is.
type part struct {
	gatherer prometheus.Gatherer
}

// assemble makes anew what is gathered. meter: nil where nothing is observed.
func (m *Metrics) assemble(meter *meter) {
	own := prometheus.NewRegistry()
	own.MustRegister(nodeCollector{m.options.Node, m.options.Counters})
	process := prometheus.WrapRegistererWith(prometheus.Labels{"component": component}, own)
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if meter != nil {
		own.MustRegister(meter)
	}
	parts := []part{{own}}
	for _, gatherer := range m.added {
		parts = append(parts, part{gatherer})
	}
	m.parts.Store(&parts)
}

// Gather gathers all, merged by name. What cannot be gathered is left out, and logged.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	merged := newMerge()
	asked := m.sources.ask()
	for _, part := range *m.parts.Load() {
		families, err := part.gatherer.Gather()
		if err != nil {
			m.options.Log.Warn("metrics are incomplete", "error", err.Error())
		}
		merged.add("", families)
	}
	for _, answer := range asked() {
		merged.add(answer.name, answer.families)
	}
	for _, conflict := range merged.conflicts {
		m.options.Log.Warn("a metric is left out", "metric", conflict.name, "source", conflict.source, "reason", conflict.reason)
	}
	return merged.families(), nil
}

// Handler answers a scrape, in the format that the scraper prefers: text, OpenMetrics, or protobuf, which has native
// histograms.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{
		EnableOpenMetrics: true, CoalesceGather: true, MaxRequestsInFlight: 16, Timeout: 30 * time.Second,
	})
}
