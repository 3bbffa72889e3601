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

// calendar has the days, weeks or months of a time zone. Weeks begin on Monday (ISO 8601).
type calendar struct {
	period string
	zone   *time.Location
}

func newCalendar(period, zone string) (calendar, error) {
	if period != day && period != week && period != month {
		return calendar{}, fmt.Errorf("period: expected day, week or month, got %q", period)
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" { // the node's own zone, which differs between nodes
		return calendar{}, fmt.Errorf("timeZone: expected a name of the IANA time zone database, such as Europe/Berlin or UTC, got %q", zone)
	}
	return calendar{period, location}, nil
}

// begin returns the beginning of the period that contains a day, or of one that lies so many periods before it.
func (c calendar) begin(at time.Time, behind int) time.Time {
	year, month, date := at.Date()
	switch c.period {
	case week:
		sinceMonday := (int(at.Weekday()) + 6) % 7
		return time.Date(year, month, date-sinceMonday+7*behind, 0, 0, 0, 0, c.zone)
	case day:
		return time.Date(year, month, date+behind, 0, 0, 0, 0, c.zone)
	default:
		return time.Date(year, month+time.Month(behind), 1, 0, 0, 0, 0, c.zone)
	}
}

// at returns the period that contains a time. If clocks change at midnight, a day may have no midnight or two: then
// the time may lie outside of the period of its date.
func (c calendar) at(now time.Time) (from, to time.Time) {
	local, behind := now.In(c.zone), 0
	for now.Before(c.begin(local, behind)) {
		behind--
	}
	for !now.Before(c.begin(local, behind+1)) {
		behind++
	}
	return c.begin(local, behind), c.begin(local, behind+1)
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
