package quota

import (
	"testing"
	"time"
)

// zones change their clocks at 01:00 UTC, at 02:00, at midnight (so that a day has none, or two), by half an hour; one has
// skipped a day.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe",
	"Pacific/Apia", "Africa/Cairo", "Asia/Kathmandu",
}

// TestEachMomentLiesInOnePeriod: periods abut, none is empty, and all times within one give the same one.
func TestEachMomentLiesInOnePeriod(t *testing.T) {
	const step = 29*time.Minute + 13*time.Second
	begin := time.Date(2011, time.March, 1, 0, 0, 0, 0, time.UTC)
	for _, zone := range zones {
		for period, bounds := range map[string][2]time.Duration{
			day: {22 * time.Hour, 49 * time.Hour}, week: {6*24*time.Hour - time.Hour, 7*24*time.Hour + time.Hour},
			month: {28*24*time.Hour - time.Hour, 31*24*time.Hour + time.Hour},
		} {
			calendar, err := newCalendar(period, zone)
			if err != nil {
				t.Fatal(err)
			}
			from, to := calendar.at(begin)
			for now := begin; now.Before(begin.AddDate(1, 0, 7)); now = now.Add(step) {
				if !now.Before(to) {
					before := to
					if from, to = calendar.at(now); !from.Equal(before) {
						t.Fatalf("%s, %s: expected a period from %s, got %s", zone, period, before, from)
					}
					if long := to.Sub(from); long < bounds[0] || long > bounds[1] {
						t.Errorf("%s, %s: expected a %s, got %s from %s", zone, period, period, long, from)
					}
				}
				if start, end := calendar.at(now); !start.Equal(from) || !end.Equal(to) || now.Before(start) || !now.Before(end) {
					t.Fatalf("%s, %s: expected %s to lie within %s and %s, got %s and %s", zone, period, now, from, to, start, end)
				}
			}
		}
	}
}

func TestDaysOfChangedClocks(t *testing.T) {
	berlin, err := newCalendar(day, "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for date, hours := range map[string]float64{"2026-03-29": 23, "2026-10-25": 25, "2026-06-01": 24} {
		noon, err := time.ParseInLocation("2006-01-02 15:04", date+" 12:00", berlin.zone)
		if err != nil {
			t.Fatal(err)
		}
		from, to := berlin.at(noon)
		if to.Sub(from).Hours() != hours || from.Hour() != 0 || from.Format(time.DateOnly) != date {
			t.Errorf("%s: expected %.0f hours from midnight, got %s to %s", date, hours, from, to)
		}
	}
	monday, err := newCalendar(week, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	if from, _ := monday.at(time.Date(2026, time.November, 29, 23, 59, 59, 0, time.UTC)); from.Format(time.DateOnly) != "2026-11-23" {
		t.Errorf("expected a Sunday to belong to the Monday before, got %s", from)
	}
}
