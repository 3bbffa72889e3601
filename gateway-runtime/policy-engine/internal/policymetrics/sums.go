// Package policymetrics sums up the metrics of policies over the processes that they run in, and exports them to
// Prometheus.
package policymetrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// maxLabelSets bounds the sets of label values of one metric, over all processes together.
const maxLabelSets = 10_000

// The bounds of one process's report of one policy. The SDK lets a policy make 200 metrics.
const (
	maxMetrics = 200
	maxBytes   = 16 << 20 // an estimate of the memory
)

// Metric is a policy's metric, in one process or in all.
type Metric struct {
	Policy string // name:version
	v1alpha.MetricSnapshot
}

type key struct{ policy, name string }

func (m Metric) key() key { return key{m.Policy, m.Name} }

// sameShape reports whether two metrics can be summed up.
func (m Metric) sameShape(other Metric) bool {
	return m.Kind == other.Kind && slices.Equal(m.Labels, other.Labels) && slices.Equal(m.Bounds, other.Bounds)
}

// Sums are the metrics of all processes together. Counters and histograms of processes that have ended
// stay in them, so that no sum decreases; gauges come from present processes only. If a policy has changed its
// metric's labels or buckets, the newest generation counts.
type Sums struct {
	mu        sync.Mutex
	processes []*Process // in the order of Join
	ended     map[key]*total
}

// NewSums returns empty sums.
func NewSums() *Sums { return &Sums{ended: map[key]*total{}} }

// Process is the slot of a process: after a crash another process takes its place there.
type Process struct {
	sums       *Sums
	generation uint64

	identity uint64 // of the present process; 0: none has reported yet
	lost     bool   // the process may have ended
	metrics  map[key]Metric
	sizes    map[key]int // of these metrics
}

// Join adds a slot for a process that runs a generation, and for its successors.
func (s *Sums) Join(generation uint64) *Process {
	p := &Process{sums: s, generation: generation, metrics: map[key]Metric{}, sizes: map[key]int{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = append(s.processes, p)
	return p
}

// size estimates the memory of a metric.
func (m Metric) size() int {
	size := len(m.Help)
	for _, sample := range m.Samples {
		size += 64 + 8*len(sample.Buckets)
		for _, value := range sample.Labels {
			size += 16 + len(value)
		}
	}
	return size
}

// Report replaces the metrics that have changed in a process, and returns those for which there is no room.
// A process has another identity than its predecessor.
func (p *Process) Report(identity uint64, changed []Metric) (refused []Metric) {
	p.sums.mu.Lock()
	defer p.sums.mu.Unlock()
	if p.identity != identity {
		p.addToEnded()
		p.identity = identity
	}
	p.lost = false
	for _, metric := range changed {
		if size := metric.size(); p.hasRoom(metric.key(), size) {
			p.metrics[metric.key()], p.sizes[metric.key()] = metric, size
		} else {
			refused = append(refused, metric)
		}
	}
	return refused
}

func (p *Process) hasRoom(metric key, size int) bool {
	count := 1
	for id, other := range p.sizes {
		if id.policy == metric.policy && id != metric {
			count, size = count+1, size+other
		}
	}
	return count <= maxMetrics && size <= maxBytes
}

// Lost reports that the process is gone, or does not answer: its gauges do not count until it reports again.
func (p *Process) Lost() {
	p.sums.mu.Lock()
	defer p.sums.mu.Unlock()
	p.lost = true
}

// Leave removes the slot. It may be called again.
func (p *Process) Leave() {
	p.sums.mu.Lock()
	defer p.sums.mu.Unlock()
	p.addToEnded()
	p.sums.processes = slices.DeleteFunc(p.sums.processes, func(process *Process) bool { return process == p })
}

// addToEnded adds the values of a process that has ended to the sums. The caller holds the mutex.
func (p *Process) addToEnded() {
	for id, metric := range p.metrics {
		if metric.Kind == v1alpha.KindGauge {
			continue
		}
		sum := p.sums.ended[id]
		if sum == nil && p.sums.endedOf(id.policy) >= maxMetrics {
			continue // each process had other metrics
		}
		if sum == nil || !sum.metric.sameShape(metric) && sum.generation <= p.generation {
			sum = newTotal(metric, p.generation)
			p.sums.ended[id] = sum
		}
		sum.add(metric)
	}
	p.metrics, p.sizes = map[key]Metric{}, map[key]int{}
}

// endedOf returns how many metrics are kept of a policy's ended processes.
func (s *Sums) endedOf(policy string) (count int) {
	for id := range s.ended {
		if id.policy == policy {
			count++
		}
	}
	return count
}

// Keep drops the sums of ended processes for policies that no longer exist.
func (s *Sums) Keep(exists func(policy string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.ended, func(id key, _ *total) bool { return !exists(id.policy) })
}

// All returns the sums, by policy and name.
func (s *Sums) All() []Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	totals := map[key]*total{}
	for _, p := range s.newestFirst() {
		for id, metric := range p.metrics {
			if p.lost && metric.Kind == v1alpha.KindGauge {
				continue
			}
			if totals[id] == nil {
				totals[id] = newTotal(metric, p.generation)
			}
			totals[id].add(metric)
		}
	}
	for id, ended := range s.ended {
		if totals[id] == nil {
			totals[id] = newTotal(ended.metric, ended.generation)
		}
		totals[id].add(ended.snapshot())
	}
	metrics := make([]Metric, 0, len(totals))
	for _, sum := range totals {
		metrics = append(metrics, sum.snapshot())
	}
	slices.SortFunc(metrics, func(a, b Metric) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Policy, b.Policy)) })
	return metrics
}

func (s *Sums) newestFirst() []*Process {
	return slices.SortedStableFunc(slices.Values(s.processes), func(a, b *Process) int { return cmp.Compare(b.generation, a.generation) })
}

// total is the sum of metrics of the same shape.
type total struct {
	metric     Metric // without samples
	generation uint64
	samples    map[string]*v1alpha.MetricSample // by their labels, joined
}

func newTotal(like Metric, generation uint64) *total {
	like.Samples, like.Refused = nil, 0
	return &total{metric: like, generation: generation, samples: map[string]*v1alpha.MetricSample{}}
}

func (t *total) add(metric Metric) {
	if !t.metric.sameShape(metric) {
		return
	}
	t.metric.Refused += metric.Refused
	for _, sample := range metric.Samples {
		labels := strings.Join(sample.Labels, "\xff") // a byte that UTF-8 does not contain
		sum := t.samples[labels]
		switch {
		case sum != nil:
			sum.Value += sample.Value
			for i, count := range sample.Buckets {
				sum.Buckets[i] += count
			}
		case len(t.samples) < maxLabelSets:
			sample.Buckets = slices.Clone(sample.Buckets)
			t.samples[labels] = &sample
		default:
			t.metric.Refused++
		}
	}
}

func (t *total) snapshot() Metric {
	metric := t.metric
	for _, labels := range slices.Sorted(maps.Keys(t.samples)) {
		metric.Samples = append(metric.Samples, *t.samples[labels])
	}
	return metric
}
