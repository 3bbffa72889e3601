package policymetrics

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/sdk/policy/v1alpha"
)

// prefix is of all names of policies' metrics.
const prefix = "gatewright_policy_"

var refused = prometheus.NewDesc("gatewright_metric_observations_refused_total",
	"Observations of a policy's own metrics that were dropped: too many sets of label values, or a value that is none.", []string{"policy", "metric"}, nil)

// Collector tells Prometheus what policies count: gatewright_policy_NAME{policy, …}. Metrics of one name are of one kind: of
// two policies that disagree, the first by name is told, and the other one logged once.
type Collector struct {
	sources []func() []Metric
	log     *slog.Logger

	mu     sync.Mutex
	logged map[key]bool
}

// NewCollector returns the collector of what sources say when they are asked. No two have a policy in common.
func NewCollector(log *slog.Logger, sources ...func() []Metric) *Collector {
	return &Collector{sources: sources, log: log, logged: map[key]bool{}}
}

// Describe describes nothing: which metrics there are is the policies' to say.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// family is what metrics of one name have in common.
type family struct {
	kind   v1alpha.MetricKind
	help   string
	policy string // whose it is first
}

// Collect tells all metrics.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	families := map[string]family{}
	for _, source := range c.sources {
		for _, metric := range source() {
			if metric.Refused > 0 {
				to <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(metric.Refused), metric.Policy, metric.Name)
			}
			of, known := families[metric.Name]
			if !known {
				of = family{kind: metric.Kind, help: metric.Help, policy: metric.Policy}
				families[metric.Name] = of
			}
			if of.kind != metric.Kind {
				c.warn(metric, of)
				continue
			}
			tell(metric, of.help, to)
		}
	}
}

func tell(metric Metric, help string, to chan<- prometheus.Metric) {
	desc := prometheus.NewDesc(prefix+metric.Name, help, append([]string{"policy"}, metric.Labels...), nil)
	for _, sample := range metric.Samples {
		labels := append([]string{metric.Policy}, sample.Labels...)
		var told prometheus.Metric
		var err error
		switch metric.Kind {
		case v1alpha.KindCounter:
			told, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, sample.Value, labels...)
		case v1alpha.KindGauge:
			told, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, sample.Value, labels...)
		case v1alpha.KindHistogram:
			count, buckets := cumulative(metric.Bounds, sample.Buckets)
			told, err = prometheus.NewConstHistogram(desc, count, sample.Value, buckets, labels...)
		}
		if err != nil {
			told = prometheus.NewInvalidMetric(desc, err)
		}
		to <- told
	}
}

// cumulative adds buckets up, as Prometheus has them.
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
	c.log.Warn("a policy's metric is not told, for one of another policy has the same name and is of another kind; rename either",
		"policy", metric.Policy, "metric", metric.Name, "kind", string(metric.Kind), "other", of.policy, "otherKind", string(of.kind))
}
