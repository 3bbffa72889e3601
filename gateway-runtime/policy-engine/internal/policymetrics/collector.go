package policymetrics

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/sdk/policy/v1alpha"
)

// prefix begins the names of all policies' metrics.
const prefix = "gatewright_policy_"

var refused = prometheus.NewDesc("gatewright_metric_observations_refused_total",
	"Observations of a policy's own metrics that were dropped: too many sets of label values, or a value that is none.", []string{"policy", "metric"}, nil)

// Collector exports policies' metrics to Prometheus: gatewright_policy_NAME{policy, …}. Metrics of one name have one kind: of
// two policies that disagree, the first by name is exported, and the other one logged once.
type Collector struct {
	sources []func() []Metric
	log     *slog.Logger

	mu     sync.Mutex
	logged map[key]bool
}

// NewCollector returns a collector of the sources' metrics. No two sources may have a policy in common.
func NewCollector(log *slog.Logger, sources ...func() []Metric) *Collector {
	return &Collector{sources: sources, log: log, logged: map[key]bool{}}
}

// Describe describes nothing: the set of metrics is known only when policies report them.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// family has the common properties of the metrics of one name.
type family struct {
	kind   v1alpha.MetricKind
	help   string
	policy string // the first policy that has it
}

// Collect sends all metrics.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	families := map[string]family{}
	for _, source := range c.sources {
		for _, metric := range source() {
			if metric.Refused > 0 {
				to <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(metric.Refused), metric.Policy, metric.Name)
			}
			first, ok := families[metric.Name]
			if !ok {
				first = family{kind: metric.Kind, help: metric.Help, policy: metric.Policy}
				families[metric.Name] = first
			}
			if first.kind != metric.Kind {
				c.warn(metric, first)
				continue
			}
			send(metric, first.help, to)
		}
	}
}

func send(metric Metric, help string, to chan<- prometheus.Metric) {
	desc := prometheus.NewDesc(prefix+metric.Name, help, append([]string{"policy"}, metric.Labels...), nil)
	for _, sample := range metric.Samples {
		labels := append([]string{metric.Policy}, sample.Labels...)
		var constMetric prometheus.Metric
		var err error
		switch metric.Kind {
		case v1alpha.KindCounter:
			constMetric, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, sample.Value, labels...)
		case v1alpha.KindGauge:
			constMetric, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, sample.Value, labels...)
		case v1alpha.KindHistogram:
			count, buckets := cumulative(metric.Bounds, sample.Buckets)
			constMetric, err = prometheus.NewConstHistogram(desc, count, sample.Value, buckets, labels...)
		}
		if err != nil {
			constMetric = prometheus.NewInvalidMetric(desc, err)
		}
		to <- constMetric
	}
}

// cumulative sums up buckets as Prometheus expects them.
func cumulative(bounds []float64, in []uint64) (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(bounds))
	for i, observations := range in {
		count += observations
		if i < len(bounds) {
			buckets[bounds[i]] = count
		}
	}
	return count, buckets
}

func (c *Collector) warn(metric Metric, of family) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logged[metric.key()] {
		return
	}
	c.logged[metric.key()] = true
	c.log.Warn("a policy's metric is not exported: a metric of another policy has the same name and another kind; rename either",
		"policy", metric.Policy, "metric", metric.Name, "kind", string(metric.Kind), "other", of.policy, "otherKind", string(of.kind))
}
