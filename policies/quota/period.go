package quota

import (
	"fmt"
	"time"
	_ "time/tzdata" // a container may have no time zones

	"gatewright.dev/sdk/policy/ratelimitheader"
)

// The supported periods.
const (
	day   = "day"
	week  = "week"
	month = "month"
)

// calendar divides time into the days, weeks or months of a time zone. Weeks begin on Monday (ISO 8601).
type calendar struct {
	period string
	zone   *time.Location
}

func newCalendar(period, zone string) (calendar, error) {
	if period != day && period != week && period != month {
		return calendar{}, fmt.Errorf("period: expected day, week or month, got %q", period)
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" { // Local would be the node's zone, which may differ between nodes
		return calendar{}, fmt.Errorf("timeZone: expected a name of the IANA time zone database, such as Europe/Berlin or UTC, got %q", zone)
	}
	return calendar{period, location}, nil
}

// begin returns the beginning of the period that contains a day, or of the period that lies offset periods later.
func (c calendar) begin(at time.Time, offset int) time.Time {
	year, month, date := at.Date()
	switch c.period {
	case week:
		sinceMonday := (int(at.Weekday()) + 6) % 7
		return time.Date(year, month, date-sinceMonday+7*offset, 0, 0, 0, 0, c.zone)
	case day:
		return time.Date(year, month, date+offset, 0, 0, 0, 0, c.zone)
	default:
		return time.Date(year, month+time.Month(offset), 1, 0, 0, 0, 0, c.zone)
	}
}

// at returns the period that contains a time. If clocks change at midnight, a day may have no midnight or two: then
// the time may lie outside of the period of its date.
func (c calendar) at(now time.Time) (from, to time.Time) {
	local, offset := now.In(c.zone), 0
	for now.Before(c.begin(local, offset)) {
		offset--
	}
	for !now.Before(c.begin(local, offset+1)) {
		offset++
	}
	return c.begin(local, offset), c.begin(local, offset+1)
}

// span is a period, with the values that all of its requests share.
type span struct {
	from, to     time.Time
	suffix       string // of keys in the store
	policyHeader string
}

// span returns the present period; the first request of a period creates it.
func (p *policy) span(now time.Time) *span {
	if current := p.current.Load(); current != nil && !now.Before(current.from) && now.Before(current.to) {
		return current
	}
	from, to := p.calendar.at(now)
	next := &span{from: from, to: to, suffix: fmt.Sprintf("/%d", from.Unix())}
	next.policyHeader = string(ratelimitheader.AppendPolicy(nil, p.name, p.limit, to.Sub(from)))
	p.current.Store(next)
	return next
}
