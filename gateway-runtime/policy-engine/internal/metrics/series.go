package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// seriesSet has the series of exchanges, of executions, or of shadow attachments' executions: their counters and
// histograms, by labels.
type seriesSet struct {
	durationHistograms
	settings Settings
	counters []*boundedCounter

	series  map[seriesKey]*labelSeries
	others  map[string]*labelSeries // by phase
	removed map[string][]uint64     // by phase: totals of removed series that were counted as other
}

// durationHistograms are the histograms of a set.
type durationHistograms struct {
	labels        []string
	work, waiting *prometheus.HistogramVec // waiting: nil if nothing waits
}

// boundedCounter is a counter with the bound on its series in a set.
type boundedCounter struct {
	metric
	seats seats
}

type seriesKey struct {
	labels chain.Labels
	phase  string
}

func newSeriesSet(settings Settings, table *chain.CounterTable, shadow bool, timing durationHistograms) *seriesSet {
	s := &seriesSet{
		durationHistograms: timing, settings: settings,
		series: map[seriesKey]*labelSeries{}, others: map[string]*labelSeries{}, removed: map[string][]uint64{},
	}
	for _, metric := range metricsOf(table, shadow) {
		s.counters = append(s.counters, &boundedCounter{metric, seatsFor(settings, len(phasesOf(metric.Scope))*len(metric.Values))})
	}
	for _, phase := range phasesOf(s.labels) {
		s.removed[phase] = make([]uint64, table.Size)
	}
	return s
}

// phasesOf returns the values of the label phase, or a single "" if it is not one of the labels.
func phasesOf(labels []string) []string {
	if slices.Contains(labels, "phase") {
		return exchange.Phases[:]
	}
	return []string{""}
}

// find returns the series of these labels for one more user, or the one for all others.
func (s *seriesSet) find(labels chain.Labels, phase string) *labelSeries {
	if s.settings.WithoutOperations {
		labels.Operation = ""
	}
	key := seriesKey{labels, phase}
	series := s.series[key]
	if series == nil && len(s.series)+len(s.removed) >= s.settings.MaxSeries {
		if s.others[phase] == nil {
			s.others[phase] = s.newSeries(seriesKey{chain.Labels{Policy: Other, API: Other, Operation: Other}, phase})
		}
		return s.others[phase]
	}
	if series == nil {
		series = s.newSeries(key)
		s.series[key] = series
	}
	series.users++
	return series
}

// labelSeries are the series of one set of labels.
type labelSeries struct {
	set     *seriesSet
	key     seriesKey
	values  []string // of the set's labels
	users   int      // policies or operations that are counted here
	carried []uint64 // the totals of closed users
	seats   []seat   // by count

	work    prometheus.Observer
	waiting func() prometheus.Observer // made at its first use, which Go policies and exchanges never reach
}

func (s *seriesSet) newSeries(key seriesKey) *labelSeries {
	values := []string{key.labels.API, key.labels.Operation, key.labels.Policy, key.phase}[:len(s.labels)]
	size := len(s.removed[key.phase])
	return &labelSeries{
		set: s, key: key, values: values, carried: make([]uint64, size), seats: make([]seat, size), work: s.work.WithLabelValues(values...),
		waiting: sync.OnceValue(func() prometheus.Observer { return s.waiting.WithLabelValues(values...) }),
	}
}

// Observe observes the times of work and waiting.
func (s *labelSeries) Observe(duration, work time.Duration, remote bool) {
	if !remote {
		s.work.Observe(duration.Seconds())
		return
	}
	if work > 0 {
		s.work.Observe(work.Seconds())
	}
	s.waiting().Observe(max(duration-work, 0).Seconds())
}

// Close removes the series with its last user.
func (s *labelSeries) Close(totals exchange.Totals) {
	totals.AddTo(s.carried)
	set := s.set
	if s.users--; set.series[s.key] != s || s.users > 0 {
		return
	}
	delete(set.series, s.key)
	for _, histogram := range set.histograms() {
		histogram.DeleteLabelValues(s.values...)
	}
	for _, counter := range set.counters {
		for value := range counter.Values {
			count := counter.First + value
			if counter.seats.release(s.seats[count]) {
				s.carried[count] = 0
			}
		}
	}
	addTotals(set.removed[s.key.phase], s.carried) // totals that were exported as other stay there
}

func (d *durationHistograms) histograms() []*prometheus.HistogramVec {
	if d.waiting == nil {
		return []*prometheus.HistogramVec{d.work}
	}
	return []*prometheus.HistogramVec{d.work, d.waiting}
}

func addTotals(sums, totals []uint64) {
	for n, total := range totals {
		sums[n] += total
	}
}

// ---------------------------------------------------------------- bound

// seats bound the series of a counter; a seat records whether a series got one. The decision is final, so that no counter
// decreases.
type (
	seats struct{ limit, used int }
	seat  uint8
)

const (
	undecided seat = iota
	own
	other
)

// acquire reports whether a series has a seat, and so is exported by itself.
func (s *seats) acquire(of *seat) bool {
	if *of == undecided {
		if *of = other; s.used < s.limit {
			*of = own
			s.used++
		}
	}
	return *of == own
}

// release frees the seat of a series, and reports whether it had one or never asked.
func (s *seats) release(of seat) bool {
	if of == own {
		s.used--
	}
	return of != other
}
