package certificates

import (
	"log/slog"
	"maps"
	"slices"
	"time"
)

const day = 24 * time.Hour

// Validity is the time in which something is valid. A zero Ends is never.
type Validity struct{ Begins, Ends time.Time }

// Warnings are the times from which the end of a certificate is warned of, in the log, the status, the metrics and the Inspector.
type Warnings struct {
	Ends    time.Time `json:"ends"`
	Soon    time.Time `json:"soon"`              // from then on it should be replaced
	Urgent  time.Time `json:"urgent"`            // from then on an operator has to replace it
	Last    time.Time `json:"last"`              // from then on it has to be replaced at once
	Renewed bool      `json:"renewed,omitempty"` // by ACME: the controller renews it, and a warning means that it could not
}

// Warnings returns times before the end: a quarter, a twelfth and a twenty-fourth of the lifetime, and at most 30 days, 7 days and
// a day. So a certificate for a year is warned of at the usual times, and one that is renewed in time, as by ACME when a third of
// its lifetime is left, is never warned of, however short its lifetime.
func (v Validity) Warnings() Warnings {
	life := v.Ends.Sub(v.Begins)
	before := func(share, most time.Duration) time.Time { return v.Ends.Add(-min(life/share, most)) }
	return Warnings{Ends: v.Ends, Soon: before(4, 30*day), Urgent: before(12, 7*day), Last: before(24, day)}
}

// expiry logs each stage once: ends soon, about to end, and expired. It outlives the sources that
// are watched, so that a Gateway that is applied again logs nothing again.
type expiry struct{ stages map[string]string } // by kind and name: the last stage logged, and the end that it refers to

func (e *expiry) log(sources Sources, contents Contents, log *slog.Logger, now time.Time) {
	stages := map[string]string{}
	logOne := func(kind, name string, validity Validity, renewed bool) {
		key := kind + " " + name
		stage, urgent := stageOf(validity, now)
		if stages[key] = stage + validity.Ends.String(); stage != "" && stages[key] != e.stages[key] {
			logEnd(kind+" "+stage, name, validity.Ends, urgent, renewed, log)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(contents.Certificates)) {
		logOne(KindCertificate, name, contents.Certificates[name].Validity, sources.Certificates[name].Renewed)
	}
	for _, name := range slices.Sorted(maps.Keys(contents.Authorities)) {
		logOne(KindAuthority, name, contents.Authorities[name].Validity, false)
		logOne("revocation list of authority", name, contents.Authorities[name].Lists, false)
	}
	e.stages = stages
}

func logEnd(message, name string, end time.Time, urgent, renewed bool, log *slog.Logger) {
	logLine, cure := log.Warn, "replace its file"
	if urgent {
		logLine = log.Error
	}
	if renewed {
		cure = "ACME has not renewed it yet, gatewright status says why"
	}
	logLine(message+": "+cure, "name", name, "end", end.UTC().Format(time.RFC3339))
}

// stageOf describes how near an end is; "": not near.
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
