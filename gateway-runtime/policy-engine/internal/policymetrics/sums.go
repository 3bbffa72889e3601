// Package policymetrics adds up what policies count by metrics of their own, over the processes that they run in, and tells
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

// maxLabelSets is how many sets of label values of one metric are kept of all processes together.
const maxLabelSets = 10_000

// What one process may tell of one policy, whatever it runs. The SDK lets a policy make 200 metrics.
const (
	maxMetrics = 200
	maxBytes   = 16 << 20 // about what they take
)

// Metric is a metric of a policy, and what it is in one process, or in all.
type Metric struct {
	Policy string // name:version
	v1alpha.MetricSnapshot
}

type key struct{ policy, name string }

func (m Metric) key() key { return key{m.Policy, m.Name} }

// sameShape reports whether two may be added up.
func (m Metric) sameShape(other Metric) bool {
	return m.Kind == other.Kind && slices.Equal(m.Labels, other.Labels) && slices.Equal(m.Bounds, other.Bounds)
}

// Sums are the metrics of all processes together. What counters and histograms of processes that have ended had counted
// stays in them, so that no sum goes back; gauges are those of processes that are there. Where a policy has changed its
// metric's labels or buckets, what the newest generation says counts.
type Sums struct {
	mu        sync.Mutex
	processes []*Process // in the order they came
	ended     map[key]*total
}

// NewSums returns the sums of nothing.
func NewSums() *Sums { return &Sums{ended: map[key]*total{}} }

// Process is a place that a process runs at: one that has crashed is followed by another one there.
type Process struct {
	sums       *Sums
	generation uint64

	identity uint64 // that the present process calls itself by; 0: none has reported yet
	lost     bool   // it may have ended
	metrics  map[key]Metric
	sizes    map[key]int // of these
}

// Join adds a process that runs a generation, and those that follow it there.
func (s *Sums) Join(generation uint64) *Process {
	p := &Process{sums: s, generation: generation, metrics: map[key]Metric{}, sizes: map[key]int{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = append(s.processes, p)
	return p
}

// size is about what it takes in memory.
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

// Report takes what has changed of the metrics in a process, each as a whole, and returns those for which there is no room.
// A process calls itself by another identity than the one before it.
func (p *Process) Report(identity uint64, changed []Metric) (refused []Metric) {
	p.sums.mu.Lock()
	defer p.sums.mu.Unlock()
	if p.identity != identity {
		p.carryOn()
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

// Lost says that the process is gone, or does not answer: its gauges do not count until it reports again.
func (p *Process) Lost() {
	p.sums.mu.Lock()
	defer p.sums.mu.Unlock()
	p.lost = true
}

// Leave says that no process follows. It may be called again.
func (p *Process) Leave() {
	p.sums.mu.Lock()
	defer p.sums.mu.Unlock()
	p.carryOn()
	p.sums.processes = slices.DeleteFunc(p.sums.processes, func(one *Process) bool { return one == p })
}

// carryOn keeps what the process that has ended had counted. It is called with the mutex held.
func (p *Process) carryOn() {
	for id, metric := range p.metrics {
		if metric.Kind == v1alpha.KindGauge {
			continue
		}
		before := p.sums.ended[id]
		if before == nil && p.sums.endedOf(id.policy) >= maxMetrics {
			continue // it has had others in each process
		}
		if before == nil || !before.metric.sameShape(metric) && before.generation <= p.generation {
			before = newTotal(metric, p.generation)
			p.sums.ended[id] = before
		}
		before.add(metric)
	}
	p.metrics, p.sizes = map[key]Metric{}, map[key]int{}
}

// endedOf is how many metrics are kept of a policy's processes that have ended.
func (s *Sums) endedOf(policy string) (count int) {
	for id := range s.ended {
		if id.policy == policy {
			count++
		}
	}
	return count
}

// Keep forgets what processes that have ended had counted for policies that nobody has any more.
func (s *Sums) Keep(has func(policy string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.ended, func(id key, _ *total) bool { return !has(id.policy) })
}

// All are the sums, by policy and name.
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
	all := make([]Metric, 0, len(totals))
	for _, each := range totals {
		all = append(all, each.snapshot())
	}
	slices.SortFunc(all, func(a, b Metric) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Policy, b.Policy)) })
	return all
}

func (s *Sums) newestFirst() []*Process {
	return slices.SortedStableFunc(slices.Values(s.processes), func(a, b *Process) int { return cmp.Compare(b.generation, a.generation) })
}

// total is a metric that others of the same shape are added to.
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
		labels := strings.Join(sample.Labels, "\xff") // which is no part of UTF-8
		sum := t.samples[labels]
		switch {
		case sum != nil:
			sum.Value += sample.Value
			for i, in := range sample.Buckets {
				sum.Buckets[i] += in
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
