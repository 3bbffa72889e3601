// Package metrics exports the engine's metrics to Prometheus: of exchanges and executions, of the node, and, merged with these,
// those of the node's other processes. docs/reference/metrics.md lists all names.
package metrics

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"gatewright.dev/policy-engine/internal/exchange"
)

// namespace begins the names of this project's metrics.
const namespace = "gatewright"

// component is the engine's value of the label component.
const component = "policy-engine"

// goMemory are statistics of the Go runtime that Prometheus' client does not export by default.
var goMemory = regexp.MustCompile(`^/memory/classes/(heap/objects|total):bytes$`)

// DefaultMaxSeries is the default bound on the series of a metric.
const DefaultMaxSeries = 10_000

// Settings are configured by the operator.
type Settings struct {
	Disabled          bool // no metrics of exchanges and executions
	MaxSeries         int  // of each of these metrics; 0 is DefaultMaxSeries
	WithoutOperations bool // the label operation is empty
}

// Options configure Metrics.
type Options struct {
	Counters *exchange.Counters
	Node     Node
	Sources  []Source // other processes, scraped at each scrape
	Log      *slog.Logger
}

// Metrics are all metrics of a node. New → Apply → Handler. All methods may be called from any goroutine.
type Metrics struct {
	options Options
	sources *sources

	mutex    sync.Mutex // of Apply and Add
	settings *Settings  // nil: not applied yet
	added    []prometheus.Gatherer
	gathered atomic.Pointer[[]prometheus.Gatherer] // the engine's own first

	logging sync.Mutex
	logged  map[string]bool // warnings
}

// New makes metrics that observe nothing until Apply.
func New(options Options) *Metrics {
	m := &Metrics{options: options, logged: map[string]bool{}, sources: newSources(options.Sources, options.Log)}
	m.assemble(nil)
	return m
}

// Apply applies the settings. If they have changed, histograms start again; counters go on.
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

// Add adds a gatherer. Its metrics must differ in their labels from others of the same name.
func (m *Metrics) Add(gatherer prometheus.Gatherer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.added = append(m.added, gatherer)
	gathered := append(slices.Clone(*m.gathered.Load()), gatherer)
	m.gathered.Store(&gathered)
}

// Failing returns the sources that failed at the last scrape, each with the reason.
func (m *Metrics) Failing() map[string]string { return m.sources.failing() }

// assemble rebuilds the list of gatherers. meter is nil if nothing is observed.
func (m *Metrics) assemble(meter *meter) {
	own := prometheus.NewRegistry()
	own.MustRegister(nodeCollector{m.options.Node, m.options.Counters})
	process := prometheus.WrapRegistererWith(prometheus.Labels{"component": component}, own)
	process.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector(
		// go_memstats_… has a gauge and a counter of one name, which OpenMetrics cannot have.
		collectors.WithGoCollectorMemStatsMetricsDisabled(),
		collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: goMemory}),
	))
	if meter != nil {
		own.MustRegister(meter)
	}
	gathered := append([]prometheus.Gatherer{own}, m.added...)
	m.gathered.Store(&gathered)
}

// Gather returns all metrics, merged by name. Those that cannot be gathered are left out, and logged.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	merged := newMerge()
	answers := m.sources.ask()
	for _, gatherer := range *m.gathered.Load() {
		families, err := gatherer.Gather()
		if err != nil {
			m.warn("metrics are incomplete", "error", err.Error())
		}
		merged.add("", families)
	}
	for _, answer := range answers() {
		merged.add(answer.name, answer.families)
	}
	for _, conflict := range merged.conflicts {
		m.warn("a metric is left out", "metric", conflict.name, "source", conflict.source, "reason", conflict.reason)
	}
	return merged.families(), nil
}

// maxLogged bounds the number of different warnings. A fault recurs at each scrape, and its text may differ each
// time, since it contains present values.
const maxLogged = 100

// warn logs each warning once: scrapes come every few seconds.
func (m *Metrics) warn(message string, attributes ...any) {
	key := fmt.Sprint(attributes...)
	m.logging.Lock()
	skip := m.logged[key] || len(m.logged) >= maxLogged
	if !skip {
		m.logged[key] = true
	}
	m.logging.Unlock()
	if !skip {
		m.options.Log.Warn(message, attributes...)
	}
}

// WriteText writes all metrics in Prometheus' text format, version 0.0.4.
func (m *Metrics) WriteText(to io.Writer) error {
	families, err := m.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(to, family); err != nil {
			return err
		}
	}
	return nil
}

// Handler answers a scrape in the scraper's preferred format: text, OpenMetrics, or protobuf, which has native
// histograms.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{
		EnableOpenMetrics: true, CoalesceGather: true, MaxRequestsInFlight: 16, Timeout: 30 * time.Second,
	})
}
