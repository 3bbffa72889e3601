package certificates

import (
	"log/slog"
	"maps"
	"slices"
	"time"
)

const day = 24 * time.Hour

// Validity is from when to when something is valid. A zero Ends is never.
type Validity struct{ Begins, Ends time.Time }

// Warnings say when the end of a certificate is warned of. All that warns (log, status, metrics, Inspector) goes by these.
type Warnings struct {
	Ends    time.Time `json:"ends"`
	Soon    time.Time `json:"soon"`              // from then on it should be replaced
	Urgent  time.Time `json:"urgent"`            // from then on somebody has to see to it
	Last    time.Time `json:"last"`              // from then on at once
	Renewed bool      `json:"renewed,omitempty"` // by ACME: the controller sees to it, and a warning says that it has not
}

// Warnings are a share of its life before the end: a quarter, a twelfth and a twenty-fourth, and at most 30 days, 7 days and
// a day. So what lives for a year is warned of as ever, and nothing that is renewed in time, as ACME does when a third of
// its life is left, is ever warned of, however short that is.
func (v Validity) Warnings() Warnings {
	life := v.Ends.Sub(v.Begins)
	before := func(share, most time.Duration) time.Time { return v.Ends.Add(-min(life/share, most)) }
	return Warnings{Ends: v.Ends, Soon: before(4, 30*day), Urgent: before(12, 7*day), Last: before(24, day)}
}

// expiry logs once that something ends soon, once that this is urgent, and once that it has ended. It outlives the sources that
// are watched, so that a Gateway that is applied again logs nothing again.
type expiry struct{ stages map[string]string } // by kind and name: the last stage, and the end that it is of

func (e *expiry) log(sources Sources, held Contents, log *slog.Logger, now time.Time) {
	stages := map[string]string{}
	logOne := func(kind, name string, validity Validity, renewed bool) {
		key := kind + " " + name
		stage, urgent := stageOf(validity, now)
		if stages[key] = stage + validity.Ends.String(); stage != "" && stages[key] != e.stages[key] {
			logEnd(kind+" "+stage, name, validity.Ends, urgent, renewed, log)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(held.Certificates)) {
		logOne(KindCertificate, name, held.Certificates[name].Validity, sources.Certificates[name].Renewed)
	}
	for _, name := range slices.Sorted(maps.Keys(held.Authorities)) {
		logOne(KindAuthority, name, held.Authorities[name].Validity, false)
		logOne("revocation list of authority", name, held.Authorities[name].Lists, false)
	}
	e.stages = stages
}

func logEnd(what, name string, end time.Time, urgent, renewed bool, log *slog.Logger) {
	say, cure := log.Warn, "replace its file"
	if urgent {
		say = log.Error
	}
	if renewed {
		cure = "ACME has not renewed it yet, gatewright status says why"
	}
	say(what+": "+cure, "name", name, "end", end.UTC().Format(time.RFC3339))
}

// stageOf says in words how near an end is; "": not near.
func stageOf(validity Validity, now time.Time) (stage string, urgent bool) {
	switch warnings := validity.Warnings(); {
	case validity.Ends.IsZero() || now.Before(warnings.Soon):
		return "", false
	case now.Before(warnings.Urgent):
		return "ends soon", false
	case now.Before(validity.Ends):
		return "is about to end", true
	default:
		return "has expired", true
	}
}
