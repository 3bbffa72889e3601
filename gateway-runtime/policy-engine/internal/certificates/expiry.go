package certificates

import (
	"log/slog"
	"maps"
	"slices"
	"time"
)

const day = 24 * time.Hour

// expiry logs once that something ends within 30 days, once that it does within 7, and once that it has. It outlives the
// sources that are watched, so that a Gateway that is applied again logs nothing again.
type expiry struct{ stages map[string]string } // by kind and name: the last stage, and the end that it is of

func (e *expiry) log(held Contents, log *slog.Logger, now time.Time) {
	stages := map[string]string{}
	logOne := func(kind, name string, end time.Time) {
		key := kind + " " + name
		stage, urgent := stageOf(end, now)
		if stages[key] = stage + end.String(); stage != "" && stages[key] != e.stages[key] {
			logEnd(kind, name, end, stage, urgent, log)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(held.Certificates)) {
		logOne("certificate", name, held.Certificates[name].Expires)
	}
	for _, name := range slices.Sorted(maps.Keys(held.Authorities)) {
		logOne("authority", name, held.Authorities[name].Expires)
		logOne("revocation list of authority", name, held.Authorities[name].ListsExpire)
	}
	e.stages = stages
}

func logEnd(kind, name string, end time.Time, stage string, urgent bool, log *slog.Logger) {
	say := log.Warn
	if urgent {
		say = log.Error
	}
	say(kind+" "+stage+": replace its file", "name", name, "end", end.UTC().Format(time.RFC3339))
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
