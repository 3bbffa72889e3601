package notes

import (
	"fmt"
	"time"

	"gatewright.dev/policy-engine/internal/node"
)

// startNotes are about a node that no controller has answered: where its state is from, or why it has none.
func startNotes(origin *node.Origin, noState string, now time.Time) []Note {
	switch {
	case noState != "":
		return []Note{{
			Severity: Bad, Code: "no_state", Party: Operator, Degraded: true, About: About{Kind: "state", Name: "start"},
			Title:  "the node has no state to start from",
			Reason: noState,
			Cure:   "correct --state-from, or let the node reach its controller; the places are tried again by themselves",
		}}
	case origin != nil:
		return []Note{{
			Severity: Warn, Code: "state_from_elsewhere", Party: Operator, About: About{Kind: "state", Name: "start"},
			Title:  fmt.Sprintf("the node serves a state that was made %s ago", span(now.Sub(origin.Made))),
			Reason: fmt.Sprintf("it started from %s, revision %d, by the controller %s; no controller has answered since", origin.Place, origin.Revision, origin.Controller),
			Cure:   "let the node reach its controller, which sends what has changed since",
		}}
	default:
		return nil
	}
}
