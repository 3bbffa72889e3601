package policymetrics_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"gatewright.dev/policy-engine/internal/policymetrics"
	"gatewright.dev/sdk/policy/v1alpha"
)

// scrape returns the text of a scrape, without comments.
func scrape(t *testing.T, log *slog.Logger, sources ...func() []policymetrics.Metric) func() string {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(policymetrics.NewCollector(log, sources...))
	return func() string {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
				t.Fatal(err)
			}
		}
		return text.String()
	}
}

func TestMetricsAreExported(t *testing.T) {
	sums := policymetrics.NewSums()
	histogram := histogram("took_seconds", []float64{0.5, 1}, 5, 1, 2, 3)
	full := counter("seen_total", map[string]float64{"x": 3})
	full.Refused = 2
	sums.Join(1).Report(1, []policymetrics.Metric{full, gauge("keys", 2), histogram})
	inGo := policymetrics.Metric{Policy: "q:v2.0.0", MetricSnapshot: v1alpha.MetricSnapshot{
		Name: "seen_total", Help: "Other words.", Kind: v1alpha.KindCounter, Samples: []v1alpha.MetricSample{{Value: 7}}}}
	got := scrape(t, slog.New(slog.DiscardHandler), sums.All, func() []policymetrics.Metric { return []policymetrics.Metric{inGo} })()
	want := `# HELP gatewright_metric_observations_refused_total Observations of a policy's own metrics that were dropped: too many sets of label values, or a value that is none.
# TYPE gatewright_metric_observations_refused_total counter
gatewright_metric_observations_refused_total{metric="seen_total",policy="p:v1.0.0"} 2
# HELP gatewright_policy_keys x
# TYPE gatewright_policy_keys gauge
gatewright_policy_keys{policy="p:v1.0.0"} 2
# HELP gatewright_policy_seen_total x
# TYPE gatewright_policy_seen_total counter
gatewright_policy_seen_total{policy="q:v2.0.0"} 7
gatewright_policy_seen_total{a="x",policy="p:v1.0.0"} 3
# HELP gatewright_policy_took_seconds x
# TYPE gatewright_policy_took_seconds histogram
gatewright_policy_took_seconds_bucket{policy="p:v1.0.0",le="0.5"} 1
gatewright_policy_took_seconds_bucket{policy="p:v1.0.0",le="1"} 3
gatewright_policy_took_seconds_bucket{policy="p:v1.0.0",le="+Inf"} 6
gatewright_policy_took_seconds_sum{policy="p:v1.0.0"} 5
gatewright_policy_took_seconds_count{policy="p:v1.0.0"} 6
`
	if got != want {
		t.Errorf("expected\n%s\ngot\n%s", want, got)
	}
}

func TestOfTwoKindsOneIsExported(t *testing.T) {
	other := gauge("keys", 2)
	other.Policy = "z:v1.0.0"
	other.Kind = v1alpha.KindHistogram
	other.Bounds, other.Samples = []float64{1}, []v1alpha.MetricSample{{Buckets: []uint64{1, 1}}}
	sums := policymetrics.NewSums()
	sums.Join(1).Report(1, []policymetrics.Metric{other, gauge("keys", 2)})
	var logged bytes.Buffer
	gather := scrape(t, slog.New(slog.NewTextHandler(&logged, nil)), sums.All)
	gather()
	if got := gather(); !strings.Contains(got, `gatewright_policy_keys{policy="p:v1.0.0"} 2`) || strings.Contains(got, "z:v1.0.0") {
		t.Error(got)
	}
	if strings.Count(logged.String(), "\n") != 1 || !strings.Contains(logged.String(), "policy=z:v1.0.0 metric=keys kind=histogram other=p:v1.0.0") {
		t.Error(logged.String())
	}
}
