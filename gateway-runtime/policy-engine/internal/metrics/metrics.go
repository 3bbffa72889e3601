// Package metrics is what the engine tells Prometheus: of exchanges and executions, of the node, and, merged with these,
// what other processes of the node tell. docs/reference/metrics.md lists all names.
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

// namespace begins all names but those that come from elsewhere.
const namespace = "gatewright"

// component is the engine's, in the label component.
const component = "policy-engine"

// goMemory are the statistics of the Go runtime that are told beside those that Prometheus' client tells anyway.
var goMemory = regexp.MustCompile(`^/memory/classes/(heap/objects|total):bytes$`)

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
	gathered atomic.Pointer[[]prometheus.Gatherer] // the engine's own first

	saying sync.Mutex
	said   map[string]bool // warnings
}

// New makes metrics that observe nothing yet: Apply says what.
func New(options Options) *Metrics {
	m := &Metrics{options: options, said: map[string]bool{}, sources: newSources(options.Sources, options.Log)}
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

// Add has what a gatherer gathers told too. Of a name that others tell as well, the labels must differ.
func (m *Metrics) Add(gatherer prometheus.Gatherer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.added = append(m.added, gatherer)
	gathered := append(slices.Clone(*m.gathered.Load()), gatherer)
	m.gathered.Store(&gathered)
}

// Failing returns the sources that told nothing at the last scrape, each with the reason.
func (m *Metrics) Failing() map[string]string { return m.sources.failing() }

// assemble makes anew what is gathered. meter: nil where nothing is observed.
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

// Gather gathers all, merged by name. What cannot be gathered is left out, and logged.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	merged := newMerge()
	asked := m.sources.ask()
	for _, gatherer := range *m.gathered.Load() {
		families, err := gatherer.Gather()
		if err != nil {
			m.warn("metrics are incomplete", "error", err.Error())
		}
		merged.add("", families)
	}
	for _, answer := range asked() {
		merged.add(answer.name, answer.families)
	}
	for _, conflict := range merged.conflicts {
		m.warn("a metric is left out", "metric", conflict.name, "source", conflict.source, "reason", conflict.reason)
	}
	return merged.families(), nil
}

// maxSaid is how many warnings are logged. What is wrong at one scrape is at the next, and may be told in other words each
// time, with the values of now.
const maxSaid = 100

// warn logs, the same once: scrapes come every few seconds.
func (m *Metrics) warn(message string, about ...any) {
	key := fmt.Sprint(about...)
	m.saying.Lock()
	known := m.said[key] || len(m.said) >= maxSaid
	if !known {
		m.said[key] = true
	}
	m.saying.Unlock()
	if !known {
		m.options.Log.Warn(message, about...)
	}
}

// WriteText writes all as Prometheus' text, version 0.0.4.
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

// Handler answers a scrape, in the format that the scraper prefers: text, OpenMetrics, or protobuf, which has native
// histograms.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{
		EnableOpenMetrics: true, CoalesceGather: true, MaxRequestsInFlight: 16, Timeout: 30 * time.Second,
	})
}
