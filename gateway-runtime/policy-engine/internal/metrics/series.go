package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// executionSeries is the series of one set of labels.
type executionSeries struct {
	meter   *executionMeter
	key     executionKey
	users   int                      // policies of operations that are counted here
	carried exchange.ExecutionCounts // the counts of closed users
	seats   [len(exchange.Outcomes)]seat
	seat    seat // of continued

	skippedSeat seat

	work    prometheus.Observer
	waiting func() prometheus.Observer // made at its first use, which Go policies never reach
}

func (m *executionMeter) newExecutionSeries(key executionKey) *executionSeries {
	values := []string{key.labels.API, key.labels.Operation, key.labels.Policy, key.phase}
	return &executionSeries{
		meter: m, key: key, work: m.work.WithLabelValues(values...),
		waiting: sync.OnceValue(func() prometheus.Observer { return m.waiting.WithLabelValues(values...) }),
	}
}

// Observe observes the times of work and waiting.
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

// Close removes the series with its last user.
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
	remaining := s.carried // counts that were exported as other stay there
	for n := range s.seats {
		if m.seats.release(s.seats[n]) {
			remaining.Outcomes[n] = 0
		}
	}
	if m.continuedSeats.release(s.seat) {
		remaining.Continued = 0
	}
	if m.skippedSeats.release(s.skippedSeat) {
		remaining.Skipped = 0
	}
	addExecutions(m.removed[s.key.phase], remaining)
}

// exchangeSeries is the series of one set of labels.
type exchangeSeries struct {
	meter     *meter
	labels    chain.Labels
	users     int                      // operations that are counted here
	carried   exchange.OperationCounts // the counts of closed users
	seats     [len(results)]seat
	byteSeats [len(directions)]seat

	duration prometheus.Observer
}

func (m *meter) newExchangeSeries(labels chain.Labels) *exchangeSeries {
	return &exchangeSeries{meter: m, labels: labels, duration: m.duration.WithLabelValues(labels.API, labels.Operation)}
}

// Observe observes the duration.
func (s *exchangeSeries) Observe(duration time.Duration) { s.duration.Observe(duration.Seconds()) }

// Close removes the series with its last user.
func (s *exchangeSeries) Close(counts exchange.OperationCounts) {
	addExchanges(&s.carried, counts)
	m := s.meter
	if s.users--; m.exchanges[s.labels] != s || s.users > 0 {
		return
	}
	delete(m.exchanges, s.labels)
	m.duration.DeleteLabelValues(s.labels.API, s.labels.Operation)
	remaining := s.carried // counts that were exported as other stay there
	for n := range s.seats {
		if m.exchangeSeats.release(s.seats[n]) {
			remaining.Results[n] = 0
		}
	}
	for n := range s.byteSeats {
		if m.byteSeats.release(s.byteSeats[n]) {
			remaining.Bytes[n] = 0
		}
	}
	addExchanges(&m.removedExchanges, remaining)
}

func addExecutions(sum *exchange.ExecutionCounts, counts exchange.ExecutionCounts) {
	for n := range sum.Outcomes {
		sum.Outcomes[n] += counts.Outcomes[n]
	}
	sum.Continued += counts.Continued
	sum.Skipped += counts.Skipped
}

func addExchanges(sum *exchange.OperationCounts, counts exchange.OperationCounts) {
	for n := range sum.Results {
		sum.Results[n] += counts.Results[n]
	}
	for n := range sum.Bytes {
		sum.Bytes[n] += counts.Bytes[n]
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
