package v1alpha_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// TestMetricRules compares the rules with those of the Python SDK.
func TestMetricRules(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var rules []struct {
		Kind    v1alpha.MetricKind
		Name    string
		Labels  []string
		Buckets []float64
		OK      bool
	}
	if err := json.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		var made *v1alpha.Metrics
		var err error
		switch rule.Kind {
		case v1alpha.KindCounter:
			_, err = made.Counter(rule.Name, "x", rule.Labels...)
		case v1alpha.KindGauge:
			_, err = made.Gauge(rule.Name, "x", rule.Labels...)
		default:
			_, err = made.Histogram(rule.Name, "x", rule.Buckets, rule.Labels...)
		}
		if (err == nil) != rule.OK {
			t.Errorf("%+v: got %v", rule, err)
		}
	}
}

// TestHelpIsText of bounded length: each report of a process contains it.
func TestHelpIsText(t *testing.T) {
	var made *v1alpha.Metrics
	for help, ok := range map[string]bool{"x": true, " ": false, "\xff": false, strings.Repeat("x", 4096): true, strings.Repeat("x", 4097): false} {
		if _, err := made.Gauge("keys", help); (err == nil) != ok {
			t.Errorf("%.10q: got %v", help, err)
		}
	}
}

func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

func TestMetricsCount(t *testing.T) {
	metrics := v1alpha.NewMetrics(func(message string) { t.Error(message) })
	counter := must(metrics.Counter("seen_total", "Requests.", "method", "status"))
	counter.Inc("GET", "200")
	counter.Add(2.5, "GET", "200")
	counter.Inc("PUT", "200")
	gauge := must(metrics.Gauge("keys", "Keys."))
	gauge.Set(5)
	gauge.Add(-2)
	histogram := must(metrics.Histogram("sizes_bytes", "Sizes.", []float64{1, 10, 100}))
	for _, value := range []float64{0, 1, 2, 10, 11, 1000} {
		histogram.Observe(value)
	}
	if counter.Value("GET", "200") != 3.5 || counter.Value("PUT", "200") != 1 || counter.Value("x", "y") != 0 || counter.Value() != 0 {
		t.Error("counter", counter.Value("GET", "200"))
	}
	if gauge.Value() != 3 || histogram.Count() != 6 || histogram.Sum() != 1024 {
		t.Error(gauge.Value(), histogram.Count(), histogram.Sum())
	}
	all := metrics.Snapshot()
	if len(all) != 3 || len(all[0].Samples) != 2 || !slices.Equal(all[2].Samples[0].Buckets, []uint64{2, 2, 1, 1}) {
		t.Errorf("%+v", all)
	}
}

func TestAMetricMadeAgainIsTheSameOne(t *testing.T) {
	metrics := v1alpha.NewMetrics(func(string) {})
	must(metrics.Counter("seen_total", "Requests.", "a")).Inc("x")
	if again := must(metrics.Counter("seen_total", "Another help text.", "a")); again.Value("x") != 1 {
		t.Error("it counts apart")
	}
	if _, err := metrics.Counter("seen_total", "x", "b"); err == nil || !strings.Contains(err.Error(), "as it was first made, a counter with the labels a") {
		t.Error(err)
	}
	must(metrics.Histogram("x_seconds", "x", nil))
	if _, err := metrics.Histogram("x_seconds", "x", []float64{1}); err == nil {
		t.Error("expected an error for other buckets")
	}
	if _, err := metrics.Gauge("x_seconds", "x"); err == nil {
		t.Error("expected an error for another kind")
	}
}

func TestInvalidObservationsAreRefusedAndLoggedOnce(t *testing.T) {
	for name, observe := range map[string]func(*v1alpha.Metrics){
		"goes down":     func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x")).Add(-1) },
		"NaN":           func(m *v1alpha.Metrics) { must(m.Gauge("keys", "x")).Set(math.NaN()) },
		"infinite":      func(m *v1alpha.Metrics) { must(m.Histogram("x_seconds", "x", nil)).Observe(math.Inf(1)) },
		"too few":       func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x", "a")).Inc() },
		"too many":      func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x")).Inc("a") },
		"not UTF-8":     func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x", "a")).Inc("\xff") },
		"too long":      func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x", "a")).Inc(strings.Repeat("a", 257)) },
		"looks as two":  func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x", "a", "b")).Inc("a\xffb", "c") },
		"looks as both": func(m *v1alpha.Metrics) { must(m.Counter("seen_total", "x", "a", "b")).Inc("a\xffb") },
	} {
		t.Run(name, func(t *testing.T) {
			var logged []string
			metrics := v1alpha.NewMetrics(func(message string) { logged = append(logged, message) })
			for range 3 {
				observe(metrics)
			}
			if got := metrics.Snapshot()[0]; got.Refused != 3 || len(logged) != 1 || !strings.Contains(logged[0], "expected") {
				t.Errorf("%+v %q", got, logged)
			}
			defer func() {
				if recover() == nil {
					t.Error("expected a panic in a test")
				}
			}()
			observe(nil)
		})
	}
}

func TestLabelSetsAreBounded(t *testing.T) {
	var logged []string
	metrics := v1alpha.NewMetrics(func(message string) { logged = append(logged, message) })
	counter := must(metrics.Counter("seen_total", "x", "path"))
	for i := range 1100 {
		counter.Inc(strings.Repeat("a", i%256) + string(rune('a'+i/256)))
	}
	if got := metrics.Snapshot()[0]; len(got.Samples) != 1000 || got.Refused != 100 || len(logged) != 1 {
		t.Errorf("%d sets, %d refused, %q", len(got.Samples), got.Refused, logged)
	}
}

func TestGoroutinesLoseNothing(t *testing.T) {
	metrics := v1alpha.NewMetrics(func(message string) { t.Error(message) })
	counter, histogram := must(metrics.Counter("seen_total", "x", "a")), must(metrics.Histogram("x_seconds", "x", nil))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 1000 {
				counter.Inc(string(rune('a' + i%7)))
				histogram.Observe(0.001)
				metrics.Snapshot()
			}
		})
	}
	all.Wait()
	sum := 0.0
	for i := range 7 {
		sum += counter.Value(string(rune('a' + i)))
	}
	if sum != 4000 || histogram.Count() != 4000 {
		t.Error(sum, histogram.Count())
	}
}

func BenchmarkCounter(b *testing.B) {
	counter := must(v1alpha.NewMetrics(func(string) {}).Counter("seen_total", "x", "a"))
	b.ReportAllocs()
	for b.Loop() {
		counter.Inc("x")
	}
}
