package quota

import (
	"fmt"
	"time"
	_ "time/tzdata" // a container may have no time zones

	"gatewright.dev/sdk/policy/ratelimitheader"
)

// The periods that there are.
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
	if err != nil || zone == "" || zone == "Local" { // which is the node's own, and another at each
		return calendar{}, fmt.Errorf("timeZone: expected a name of the IANA time zone database, as Europe/Berlin or UTC, got %q", zone)
	}
	return calendar{period, location}, nil
}

// begin is when the period begins that the day belongs to, or one that lies so many behind it.
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

// at is the period that a time lies in. Where clocks are changed at midnight, there may be none or two of it on a day: then
// the time may lie beside the period that its date says.
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

// span is a period, with what is the same for all of its requests.
type span struct {
	from, to     time.Time
	suffix       string // of keys in the store
	policyHeader string
}

// span is the one that now lies in; a period's first request makes it.
func (p *policy) span(now time.Time) *span {
	if known := p.known.Load(); known != nil && !now.Before(known.from) && now.Before(known.to) {
		return known
	}
	from, to := p.calendar.at(now)
	made := &span{from: from, to: to, suffix: fmt.Sprintf("/%d", from.Unix())}
	made.policyHeader = string(ratelimitheader.AppendPolicy(nil, p.name, p.limit, to.Sub(from)))
	p.known.Store(made)
	return made
}
