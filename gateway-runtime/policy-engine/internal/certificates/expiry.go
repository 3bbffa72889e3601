package certificates

import (
	"log/slog"
	"maps"
	"slices"
	"time"
)

const day = 24 * time.Hour

// expiry logs once that something ends within 30 days, once that it does within 7, and once that it has.
type expiry struct{ said map[string]string }

func (e *expiry) log(held Contents, log *slog.Logger, now time.Time) {
	if e.said == nil {
		e.said = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(held.Certificates)) {
		e.logOne("certificate", name, held.Certificates[name].Expires, log, now)
	}
	for _, name := range slices.Sorted(maps.Keys(held.Authorities)) {
		e.logOne("authority", name, held.Authorities[name].Expires, log, now)
		e.logOne("revocation list of authority", name, held.Authorities[name].ListsExpire, log, now)
	}
}

func (e *expiry) logOne(what, name string, end time.Time, log *slog.Logger, now time.Time) {
	stage, urgent := stageOf(end, now)
	said := stage + end.String()
	key := what + " " + name
	if e.said[key] == said {
		return
	}
	e.said[key] = said
	if stage == "" {
		return
	}
	say := log.Warn
	if urgent {
		say = log.Error
	}
	say(what+" "+stage+": replace its file", "name", name, "end", end.UTC().Format(time.RFC3339))
}

// stageOf says in words how near an end is; "": not near.
func stageOf(end, now time.Time) (stage string, urgent bool) {
	switch left := end.Sub(now); {
	case end.IsZero() || left > 30*day:
		return "", false
	case left > 7*day:
		return "ends in less than 30 days", false
	case left > 0:
		return "ends in less than 7 days", true
	default:
		return "has expired", true
	}
}
