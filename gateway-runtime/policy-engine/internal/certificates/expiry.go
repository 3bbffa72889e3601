package certificates

import (
	"context"
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
	stage, level := stageOf(end, now)
	said := stage + end.String()
	key := what + " " + name
	if e.said[key] == said {
		return
	}
	e.said[key] = said
	if stage != "" {
		log.Log(context.Background(), level, what+" "+stage+": replace its file", "name", name, "end", end.UTC().Format(time.RFC3339))
	}
}

func stageOf(end, now time.Time) (string, slog.Level) {
	switch left := end.Sub(now); {
	case end.IsZero() || left > 30*day:
		return "", 0
	case left > 7*day:
		return "ends in less than 30 days", slog.LevelWarn
	case left > 0:
		return "ends in less than 7 days", slog.LevelError
	default:
		return "has expired", slog.LevelError
	}
}
