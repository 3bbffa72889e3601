// Package notes reports the faults of a node: what happened, who is responsible, and what to do. All of this is worded here
// alone; `gatewright status` and the Inspector show the same notes.
package notes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/store"
)

// Severity is the severity of a note.
type Severity string

// The severities.
const (
	Bad  Severity = "bad"  // requests fail, or policies do not run
	Warn Severity = "warn" // they may soon, or something is missing
)

// Party is the party that is responsible for a fault.
type Party string

// The parties.
const (
	Upstream Party = "upstream" // a target, the network to it, or its name in the API
	Policy   Party = "policy"   // its author
	Operator Party = "operator" // of the node: files, certificates, a Valkey
	Gateway  Party = "gateway"  // the gateway's own processes
)

// Note reports one fault. Title, reason and cure begin in lower case and end without a full stop.
type Note struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // "upstream_unreachable"
	Party    Party    `json:"party"`
	Degraded bool     `json:"degraded"` // the node itself is degraded: the exit status of `gatewright status` is 3
	About    About    `json:"about"`
	Title    string   `json:"title"`
	Reason   string   `json:"reason"`
	Cure     string   `json:"cure"`
}

// About names the subject of a note.
type About struct {
	Kind string `json:"kind"` // api, policy (name:version), listener, certificate, authority, metrics (a process), store, controller or state
	Name string `json:"name"`
	API  string `json:"api,omitempty"` // of a policy
}

// Facts are the input of Make.
type Facts struct {
	Gateway        node.GatewayStats                `json:"gateway"`
	Certificates   map[string]certificates.Warnings `json:"certificates"`
	Quarantined    []pythonbridge.QuarantineStats   `json:"quarantined"`
	MetricsFailing map[string]string                `json:"metricsFailing"`
	Store          store.Stats                      `json:"store"`
	Unresolved     map[string]string                `json:"unresolved"` // API → the name of its upstream that does not resolve, so that its newest version does not run
	Clusters       map[string][]string              `json:"clusters"`   // Envoy's clusters of each API
	Refusal        string                           `json:"refusal"`    // why the node and its controller do not accept each other
	Origin         *node.Origin                     `json:"origin"`     // where the node's state is from, while no controller has answered
	NoState        string                           `json:"noState"`    // why it has none to start from
	Targets        Targets                          `json:"-"`          // from Envoy
}

// Make returns the notes of a node: its upstreams first, by API; then its policies, listeners, files, certificates,
// processes, store, controller and state. It is never nil.
func Make(facts *Facts, now time.Time) []Note {
	notes := []Note{}
	notes = append(notes, unresolvedNotes(facts.Unresolved)...)
	notes = append(notes, upstreamNotes(facts.Clusters, facts.Targets)...)
	notes = append(notes, quarantineNotes(facts.Quarantined)...)
	notes = append(notes, listenerNotes(facts.Gateway.Closed)...)
	notes = append(notes, fileNotes(facts.Gateway.FailingFiles)...)
	notes = append(notes, certificateNotes(facts.Certificates, now)...)
	notes = append(notes, metricsNotes(facts.MetricsFailing)...)
	notes = append(notes, storeNotes(facts.Store)...)
	notes = append(notes, refusalNotes(facts.Refusal)...)
	return append(notes, startNotes(facts.Origin, facts.NoState, now)...)
}

func quarantineNotes(quarantined []pythonbridge.QuarantineStats) []Note {
	var notes []Note
	for _, instance := range quarantined {
		reason := fmt.Sprintf("%s crashed while it ran", plural(instance.Deaths, "executor process", "executor processes"))
		if instance.HeldAt != "" {
			reason = fmt.Sprintf("it held the interpreter of an executor process at %s, so that nothing else ran there", instance.HeldAt)
		}
		remaining := time.Duration(instance.LeftMs) * time.Millisecond
		notes = append(notes, Note{
			Severity: Bad, Code: "policy_quarantined", Party: Policy, Degraded: true,
			About:  About{"policy", instance.Policy, instance.API},
			Title:  fmt.Sprintf("policy %s of API %s is quarantined", instance.Policy, instance.API),
			Reason: fmt.Sprintf("%s; it is not executed, its failures are of class crashed, and it is tried again in %s", reason, span(remaining)),
			Cure:   "fix the policy and reload; the log of python-executor has the last lines of the process",
		})
	}
	return notes
}

func listenerNotes(closed []string) []Note {
	var notes []Note
	for _, listener := range closed {
		notes = append(notes, Note{
			Severity: Bad, Code: "listener_closed", Party: Operator, Degraded: true, About: About{Kind: "listener", Name: listener},
			Title:  fmt.Sprintf("the listener %s is closed", listener),
			Reason: "it needs a certificate or an authority whose files cannot be used, so that no client can connect",
			Cure:   "fix the files: the node loads them at once",
		})
	}
	return notes
}

func fileNotes(failing []node.FailingFile) []Note {
	var notes []Note
	for _, file := range failing {
		notes = append(notes, Note{
			Severity: Warn, Code: "files_unusable", Party: Operator, Degraded: true, About: About{Kind: file.Kind, Name: file.Name},
			Title:  fmt.Sprintf("the files of the %s %s cannot be used", file.Kind, file.Name),
			Reason: file.Reason,
			Cure:   "fix the files: the node loads them at once; until then it serves what it loaded last, unless the engine restarts",
		})
	}
	return notes
}

func certificateNotes(warnings map[string]certificates.Warnings, now time.Time) []Note {
	var notes []Note
	for _, name := range slices.Sorted(maps.Keys(warnings)) {
		certificate := warnings[name]
		if now.Before(certificate.Soon) {
			continue
		}
		note := Note{Party: Operator, About: About{Kind: "certificate", Name: name}, Cure: "replace its file: the node loads the new one at once"}
		if certificate.Renewed {
			note.Cure = "the gateway renews it by ACME and has not yet: gatewright status says why, and when it tries again"
		}
		end := certificate.Ends.UTC().Format(time.RFC3339)
		if now.Before(certificate.Ends) {
			note.Severity, note.Code, note.Degraded = Warn, "certificate_ends", !now.Before(certificate.Urgent)
			note.Title = fmt.Sprintf("certificate %s ends in %s", name, span(certificate.Ends.Sub(now)))
			note.Reason = fmt.Sprintf("after %s clients refuse to connect", end)
		} else {
			note.Severity, note.Code, note.Degraded = Bad, "certificate_expired", true
			note.Title = fmt.Sprintf("certificate %s has expired", name)
			note.Reason = fmt.Sprintf("it ended at %s, and clients refuse to connect", end)
		}
		notes = append(notes, note)
	}
	return notes
}

func metricsNotes(failing map[string]string) []Note {
	var notes []Note
	for _, process := range slices.Sorted(maps.Keys(failing)) {
		notes = append(notes, Note{
			Severity: Warn, Code: "metrics_missing", Party: Gateway, Degraded: true, About: About{Kind: "metrics", Name: process},
			Title:  fmt.Sprintf("no metrics of %s", process),
			Reason: failing[process],
			Cure:   fmt.Sprintf("see the log of %s; until it answers, its figures and the alerts made of them are missing", process),
		})
	}
	return notes
}

func storeNotes(stats store.Stats) []Note {
	if stats.Away == "" {
		return nil
	}
	return []Note{{
		Severity: Bad, Code: "store_away", Party: Operator, Degraded: true, About: About{Kind: "store", Name: stats.Valkey},
		Title:  fmt.Sprintf("the store at %s does not answer", stats.Valkey),
		Reason: stats.Away,
		Cure:   "check that it runs and that the node can reach it; store calls of policies fail until it answers",
	}}
}

func refusalNotes(refusal string) []Note {
	if refusal == "" {
		return nil
	}
	return []Note{{
		Severity: Warn, Code: "controller_refuses", Party: Operator, Degraded: true, About: About{Kind: "controller", Name: "controller"},
		Title:  "the controller and this node do not accept each other",
		Reason: refusal,
		Cure:   "correct the node's token, labels or certificates, or the controller's; the node tries again by itself, and until then it gets no change",
	}}
}

// span formats a duration for people: "27 s", "12 min", "7 h 30 min", "5 days".
func span(lasts time.Duration) string {
	switch minutes := int(lasts.Minutes()); {
	case lasts < 2*time.Minute:
		return fmt.Sprintf("%d s", int(max(lasts, 0).Round(time.Second).Seconds()))
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case lasts < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	default:
		return fmt.Sprintf("%d days", minutes/60/24)
	}
}

func plural(number int, singular, several string) string {
	if number == 1 {
		return "1 " + singular
	}
	return fmt.Sprintf("%d %s", number, several)
}

// byTitle orders notes of one API.
func byTitle(a, b Note) int { return cmp.Compare(a.Title+a.Reason, b.Title+b.Reason) }
