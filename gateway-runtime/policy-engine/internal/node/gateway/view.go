package gateway

import (
	"fmt"
	"strings"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
)

// View is the state of the Gateway for readers on other goroutines: it does not change.
type View struct {
	Stats    Stats
	Expiries map[string]certificates.Warnings // of the readable certificates
	Status   *nodev1.GatewayStatus            // the newest; nil: no status yet
}

// Stats describe the node's Gateway.
type Stats struct {
	Digest string `json:"digest"` // of the Gateway that is served; "": none
	State  string `json:"state"`  // applied, rejected or pending: the outcome of the newest Gateway; "": none yet
	Reason string `json:"reason"` // for rejected and pending

	Closed       []string      `json:"closed,omitempty"`       // listeners that need a certificate or an authority whose files cannot be used
	FailingFiles []FailingFile `json:"failingFiles,omitempty"` // certificates and authorities whose files cannot be used now
}

// FailingFile is a certificate or an authority whose files cannot be used. Their earlier content, if any, is served.
type FailingFile struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Obstacle returns which listeners are closed, and why; "": none is.
func (s Stats) Obstacle() string {
	if len(s.Closed) == 0 {
		return ""
	}
	reasons := make([]string, 0, len(s.FailingFiles))
	for _, file := range s.FailingFiles {
		reasons = append(reasons, fmt.Sprintf("%s %s: %s", file.Kind, file.Name, file.Reason))
	}
	return fmt.Sprintf("closed until their certificates can be used: the listeners %s; %s", strings.Join(s.Closed, ", "), strings.Join(reasons, "; "))
}

// View returns the state as it is now.
func (s *State) View() View {
	view := View{Expiries: map[string]certificates.Warnings{}, Status: s.status}
	if s.status != nil {
		view.Stats.State = strings.ToLower(strings.TrimPrefix(s.status.GetState().String(), "STATE_"))
		view.Stats.Reason = s.status.GetReason()
	}
	if good := s.current.lastGood(); good != nil {
		view.Stats.Digest = good.message.GetDigest()
	}
	if s.current == nil {
		return view
	}
	view.Stats.Closed = s.current.gateway.ClosedWith(s.current.secrets)
	for _, source := range s.current.failures.Sources() {
		view.Stats.FailingFiles = append(view.Stats.FailingFiles, FailingFile{source.Kind, source.Name, s.current.failures[source]})
	}
	for name, pair := range s.current.contents.Certificates {
		warnings := pair.Validity.Warnings()
		warnings.Renewed = s.current.gateway.Sources.Certificates[name].Renewed
		view.Expiries[name] = warnings
	}
	return view
}
