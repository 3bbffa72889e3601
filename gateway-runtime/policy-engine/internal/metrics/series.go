package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// executionSeries is one set of labels.
type executionSeries struct {
	meter   *executionMeter
	key     executionKey
	users   int                      // policies of operations that are counted here
	carried exchange.ExecutionCounts // of those that were dropped
	seats   [len(exchange.Outcomes)]seat
	seat    seat // of continued

	skippedSeat seat

	work    prometheus.Observer
	waiting func() prometheus.Observer // made at its first use: Go policies have none
}

func (m *executionMeter) newExecutionSeries(key executionKey) *executionSeries {
	values := []string{key.labels.API, key.labels.Operation, key.labels.Policy, key.phase}
	return &executionSeries{
		meter: m, key: key, work: m.work.WithLabelValues(values...),
		waiting: sync.OnceValue(func() prometheus.Observer { return m.waiting.WithLabelValues(values...) }),
	}
}

// Observe observes work and waiting apart.
func (s *executionSeries) Observe(duration, work time.Duration, remote bool) {
	if !remote {
		s.work.Observe(duration.Seconds())
		return
	}
	if work > 0 {
		s.work.Observe(work.Seconds())
	}
	s.waiting().Observe(max(duration-work, 0).Seconds())
}

// Close takes the series away with the last that are counted there.
func (s *executionSeries) Close(counts exchange.ExecutionCounts) {
	addExecutions(&s.carried, counts)
	m := s.meter
	if s.users--; m.series[s.key] != s || s.users > 0 {
		return
	}
	delete(m.series, s.key)
	values := []string{s.key.labels.API, s.key.labels.Operation, s.key.labels.Policy, s.key.phase}
	m.work.DeleteLabelValues(values...)
	m.waiting.DeleteLabelValues(values...)
	left := s.carried // of which what was told as other stays there
	for n := range s.seats {
		if m.seats.leave(s.seats[n]) {
			left.Outcomes[n] = 0
		}
	}
	if m.continuedSeats.leave(s.seat) {
		left.Continued = 0
	}
	if m.skippedSeats.leave(s.skippedSeat) {
		left.Skipped = 0
	}
	addExecutions(m.gone[s.key.phase], left)
}

// exchangeSeries is one set of labels.
type exchangeSeries struct {
	meter     *meter
	labels    chain.Labels
	users     int                      // operations that are counted here
	carried   exchange.OperationCounts // of those that were dropped
	seats     [len(results)]seat
	byteSeats [len(directions)]seat

	duration prometheus.Observer
}

func (m *meter) newExchangeSeries(labels chain.Labels) *exchangeSeries {
	return &exchangeSeries{meter: m, labels: labels, duration: m.duration.WithLabelValues(labels.API, labels.Operation)}
}

// Observe observes the duration.
func (s *exchangeSeries) Observe(duration time.Duration) { s.duration.Observe(duration.Seconds()) }

// Close takes the series away with the last that are counted there.
func (s *exchangeSeries) Close(counts exchange.OperationCounts) {
	addExchanges(&s.carried, counts)
	m := s.meter
	if s.users--; m.exchanges[s.labels] != s || s.users > 0 {
		return
	}
	delete(m.exchanges, s.labels)
	m.duration.DeleteLabelValues(s.labels.API, s.labels.Operation)
	left := s.carried // of which what was told as other stays there
	for n := range s.seats {
		if m.exchangeSeats.leave(s.seats[n]) {
			left.Results[n] = 0
		}
	}
	for n := range s.byteSeats {
		if m.byteSeats.leave(s.byteSeats[n]) {
			left.Bytes[n] = 0
		}
	}
	addExchanges(&m.goneExchanges, left)
}

func addExecutions(to *exchange.ExecutionCounts, more exchange.ExecutionCounts) {
	for n := range to.Outcomes {
		to.Outcomes[n] += more.Outcomes[n]
	}
	to.Continued += more.Continued
	to.Skipped += more.Skipped
}

func addExchanges(to *exchange.OperationCounts, more exchange.OperationCounts) {
	for n := range to.Results {
		to.Results[n] += more.Results[n]
	}
	for n := range to.Bytes {
		to.Bytes[n] += more.Bytes[n]
	}
}

// ---------------------------------------------------------------- bound

// seats are how many series a counter may have; seat is what one of them got. Once decided it stays, so that no counter
// goes back.
type (
	seats struct{ limit, used int }
	seat  uint8
)

const (
	undecided seat = iota
	own
	other
)

// take reports whether a series is told by itself, and not with the others.
func (s *seats) take(of *seat) bool {
	if *of == undecided {
		if *of = other; s.used < s.limit {
			*of = own
			s.used++
		}
	}
	return *of == own
}

// leave reports whether a series was told by itself, and makes room for another one.
func (s *seats) leave(of seat) bool {
	if of == own {
		s.used--
	}
	return of != other
}
