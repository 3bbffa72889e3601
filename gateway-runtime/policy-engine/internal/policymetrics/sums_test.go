package policymetrics_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/policymetrics"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

const policy = "p:v1.0.0"

func counter(name string, values map[string]float64) policymetrics.Metric {
	metric := policymetrics.Metric{Policy: policy, MetricSnapshot: v1alpha.MetricSnapshot{
		Name: name, Help: "x", Kind: v1alpha.KindCounter, Labels: []string{"a"}}}
	for label, value := range values {
		metric.Samples = append(metric.Samples, v1alpha.MetricSample{Labels: []string{label}, Value: value})
	}
	return metric
}

func gauge(name string, value float64) policymetrics.Metric {
	return policymetrics.Metric{Policy: policy, MetricSnapshot: v1alpha.MetricSnapshot{
		Name: name, Help: "x", Kind: v1alpha.KindGauge, Samples: []v1alpha.MetricSample{{Value: value}}}}
}

func histogram(name string, bounds []float64, sum float64, buckets ...uint64) policymetrics.Metric {
	return policymetrics.Metric{Policy: policy, MetricSnapshot: v1alpha.MetricSnapshot{
		Name: name, Help: "x", Kind: v1alpha.KindHistogram, Bounds: bounds, Samples: []v1alpha.MetricSample{{Value: sum, Buckets: buckets}}}}
}

// shown are all sums as "name label value buckets".
func shown(sums *policymetrics.Sums) string {
	var lines []string
	for _, metric := range sums.All() {
		for _, sample := range metric.Samples {
			lines = append(lines, fmt.Sprintf("%s%v%v %v", metric.Name, sample.Labels, sample.Value, sample.Buckets))
		}
	}
	return strings.Join(lines, "; ")
}

func wantShown(t *testing.T, sums *policymetrics.Sums, want string) {
	t.Helper()
	if got := shown(sums); got != want {
		t.Errorf("expected %q, got %q", want, got)
	}
}

func TestProcessesAreAddedUp(t *testing.T) {
	sums := policymetrics.NewSums()
	first, second := sums.Join(1), sums.Join(1)
	first.Report(7, []policymetrics.Metric{counter("c_total", map[string]float64{"x": 1, "y": 2}), gauge("g", 3), histogram("h", []float64{1}, 5, 1, 2)})
	second.Report(8, []policymetrics.Metric{counter("c_total", map[string]float64{"x": 10}), gauge("g", -1), histogram("h", []float64{1}, 0.5, 1, 0)})
	wantShown(t, sums, "c_total[x]11 []; c_total[y]2 []; g[]2 []; h[]5.5 [2 2]")
	first.Report(7, []policymetrics.Metric{counter("c_total", map[string]float64{"x": 4, "y": 2})}) // only that has changed
	wantShown(t, sums, "c_total[x]14 []; c_total[y]2 []; g[]2 []; h[]5.5 [2 2]")
}

func TestTheCountsOfAnEndedProcessStay(t *testing.T) {
	sums := policymetrics.NewSums()
	process := sums.Join(1)
	process.Report(7, []policymetrics.Metric{counter("c_total", map[string]float64{"x": 5}), gauge("g", 3), histogram("h", []float64{1}, 5, 1, 2)})
	process.Lost()
	wantShown(t, sums, "c_total[x]5 []; h[]5 [1 2]")
	process.Report(7, nil) // it was the connection
	wantShown(t, sums, "c_total[x]5 []; g[]3 []; h[]5 [1 2]")
	process.Lost()
	process.Report(9, []policymetrics.Metric{counter("c_total", map[string]float64{"x": 1}), gauge("g", 1)})
	wantShown(t, sums, "c_total[x]6 []; g[]1 []; h[]5 [1 2]")
	process.Leave()
	process.Leave()
	wantShown(t, sums, "c_total[x]6 []; h[]5 [1 2]")
	sums.Keep(func(of string) bool { return of != policy })
	wantShown(t, sums, "")
}

func TestTheNewestGenerationsLabelsAndBucketsCount(t *testing.T) {
	sums := policymetrics.NewSums()
	old := sums.Join(1)
	old.Report(1, []policymetrics.Metric{histogram("h", []float64{1}, 5, 1, 2)})
	renewed := sums.Join(2)
	renewed.Report(2, []policymetrics.Metric{histogram("h", []float64{1, 2}, 7, 1, 1, 1)})
	wantShown(t, sums, "h[]7 [1 1 1]")
	renewed.Report(3, []policymetrics.Metric{histogram("h", []float64{1, 2}, 1, 1, 0, 0)})
	old.Leave() // it does not displace the counts of the newer one
	wantShown(t, sums, "h[]8 [2 1 1]")
	renewed.Leave()
	wantShown(t, sums, "h[]8 [2 1 1]")
}

func TestLabelSetsOfAllProcessesAreBounded(t *testing.T) {
	sums := policymetrics.NewSums()
	for process := range 11 {
		values := map[string]float64{}
		for i := range 1000 {
			values[fmt.Sprint(process, " ", i)] = 1
		}
		joined := sums.Join(1)
		joined.Report(uint64(process+1), []policymetrics.Metric{counter("c_total", values)})
		joined.Leave()
	}
	if all := sums.All(); len(all[0].Samples) != 10_000 || all[0].Refused != 1000 {
		t.Errorf("%d sets, %d refused", len(all[0].Samples), all[0].Refused)
	}
}

// totals adds up all samples: counters, observations of histograms, gauges.
func totals(sums *policymetrics.Sums) (counted float64, observed uint64, gauges float64) {
	for _, metric := range sums.All() {
		for _, sample := range metric.Samples {
			switch metric.Kind {
			case v1alpha.KindCounter:
				counted += sample.Value
			case v1alpha.KindHistogram:
				observed += sample.Buckets[0] + sample.Buckets[1]
			default:
				gauges += sample.Value
			}
		}
	}
	return counted, observed, gauges
}

// TestSumsAreExactAndNeverGoBack has processes count, report, crash, come again and leave in any order.
func TestSumsAreExactAndNeverGoBack(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		type running struct {
			place    *policymetrics.Process
			identity uint64
			counts   map[string]float64 // of the process that runs there
			buckets  []uint64
			reported map[string]float64
		}
		sums := policymetrics.NewSums()
		var places []*running
		var reported, before float64 // of all processes ever, by their last reports
		var observations uint64
		identity := uint64(0)
		fresh := func(at *running) {
			identity++
			at.identity, at.counts, at.buckets, at.reported = identity, map[string]float64{}, make([]uint64, 2), map[string]float64{}
		}
		generation := uint64(1)
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				generation += uint64(rapid.IntRange(0, 1).Draw(t, "renewed"))
				at := &running{place: sums.Join(generation)}
				fresh(at)
				places = append(places, at)
			},
			"count and report": func(t *rapid.T) {
				if len(places) == 0 {
					t.Skip()
				}
				at := rapid.SampledFrom(places).Draw(t, "process")
				label := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "label")
				amount := float64(rapid.IntRange(0, 5).Draw(t, "amount"))
				at.counts[label] += amount
				at.buckets[rapid.IntRange(0, 1).Draw(t, "bucket")]++
				at.place.Report(at.identity, []policymetrics.Metric{
					counter("c_total", at.counts), histogram("h", []float64{1}, 0, at.buckets[0], at.buckets[1]), gauge("g", 1)})
				reported += amount
				observations++
				at.reported[label] = at.counts[label]
			},
			"crash": func(t *rapid.T) {
				if len(places) > 0 {
					at := rapid.SampledFrom(places).Draw(t, "process")
					at.place.Lost()
					fresh(at)
				}
			},
			"reconnect": func(t *rapid.T) {
				if len(places) > 0 {
					at := rapid.SampledFrom(places).Draw(t, "process")
					at.place.Lost()
					if len(at.reported) > 0 {
						at.place.Report(at.identity, []policymetrics.Metric{counter("c_total", at.counts)})
					}
				}
			},
			"leave": func(t *rapid.T) {
				if len(places) > 0 {
					at := rapid.IntRange(0, len(places)-1).Draw(t, "process")
					places[at].place.Leave()
					places = append(places[:at:at], places[at+1:]...)
				}
			},
			"": func(t *rapid.T) {
				total, in, gauges := totals(sums)
				if total != reported || in != observations || total < before {
					t.Fatalf("expected %v and %d, got %v and %d, before it %v", reported, observations, total, in, before)
				}
				if gauges > float64(len(places)) {
					t.Fatalf("expected a gauge of 1 of each of %d processes at most, got %v", len(places), gauges)
				}
				before = total
			},
		})
	})
}

// TestTheMetricsOfAProcessAreBounded: it runs policies, which may report anything, even in new processes.
func TestTheMetricsOfAProcessAreBounded(t *testing.T) {
	sums := policymetrics.NewSums()
	process := sums.Join(1)
	refused := 0
	for n := range 1000 {
		refused += len(process.Report(uint64(1+n/500), []policymetrics.Metric{counter(fmt.Sprintf("c%d_total", n), map[string]float64{"x": 1})}))
	}
	if all := sums.All(); refused != 600 || len(all) != 400 {
		t.Errorf("expected 200 metrics of each of two processes, got %d, %d refused", len(all), refused)
	}
	process.Report(3, nil)
	if all := sums.All(); len(all) != 200 {
		t.Errorf("expected 200 metrics of processes that have ended, got %d", len(all))
	}
	large := map[string]float64{}
	for n := range 10_000 {
		large[strings.Repeat("x", 256)+fmt.Sprint(n)] = 1
	}
	refused = 0
	for n := range 10 { // of 3.4 MB each
		refused += len(process.Report(3, []policymetrics.Metric{counter(fmt.Sprintf("l%d_total", n), large)}))
	}
	if refused != 6 {
		t.Errorf("expected 16 MiB to be kept, got %d of 10 refused", refused)
	}
	if refused := process.Report(3, []policymetrics.Metric{counter("l0_total", large)}); len(refused) != 0 {
		t.Error("expected one that is there already to be taken")
	}
}
