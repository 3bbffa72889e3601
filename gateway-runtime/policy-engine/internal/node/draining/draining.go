// Package draining holds whether the node takes new connections: what the controller wants, and how far the supervisor is, which
// closes Envoy's listeners and opens them again.
package draining

import (
	"sync"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// Phase is what the supervisor has done.
type Phase string

// The phases of a drain, its end, and the end of the run.
const (
	Serving  Phase = "serving"
	Draining Phase = "draining"
	Drained  Phase = "drained"
	Opening  Phase = "opening" // Envoy starts again, to serve
	Stopping Phase = "stopping"
)

// Phases are all of these; a test of the command line holds its own to them.
var Phases = []Phase{Serving, Draining, Drained, Opening, Stopping}

// Wish is what the supervisor is to do.
type Wish struct {
	Drained       bool   `json:"drained"`       // no listener is open
	AcceptSeconds uint32 `json:"acceptSeconds"` // how long listeners stay open once the node is not ready
}

// State is the node's. All methods may be called from any goroutine.
type State struct {
	changed func() // called after each change of what Hello returns; must not block

	mutex sync.Mutex
	wish  Wish
	asked bool  // the controller has sent a wish to this process
	phase Phase // empty: no supervisor has reported, and the node cannot be drained
}

// New makes the state of a node that serves. changed is called after each change of what Hello returns; it must not block.
func New(changed func()) *State { return &State{changed: changed} }

// Want sets what the controller wants.
func (s *State) Want(drain *nodev1.Drain) {
	s.edit(func() {
		s.asked = true
		s.wish = Wish{drain.GetDrained(), drain.GetAcceptSeconds()}
	})
}

// Report sets the supervisor's phase, and returns what it is to do. A supervisor that has drained the node before this process
// started goes on, until the controller wants something else.
func (s *State) Report(phase Phase) (wish Wish) {
	s.edit(func() {
		if !s.asked && s.phase == "" {
			s.wish.Drained = phase != Serving && phase != Opening // an engine inside Envoy starts with it, while it opens
		}
		s.phase = phase
		wish = s.wish
	})
	return wish
}

// Hello is the state as a hello names it.
func (s *State) Hello() nodev1.DrainState {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.hello()
}

func (s *State) hello() nodev1.DrainState {
	switch {
	case s.phase == "":
		return nodev1.DrainState_DRAIN_STATE_UNSPECIFIED
	case s.phase == Serving && !s.wish.Drained:
		return nodev1.DrainState_DRAIN_STATE_SERVING
	case s.phase == Drained && s.wish.Drained:
		return nodev1.DrainState_DRAIN_STATE_DRAINED
	}
	return nodev1.DrainState_DRAIN_STATE_DRAINING
}

// Obstacle is why the node takes no new connections, or is about to take none; empty: it takes them.
func (s *State) Obstacle() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case s.phase == Stopping:
		return "it is being stopped"
	case s.wish.Drained:
		return "it is drained on request: gatewright node undrain has it serve again"
	case s.phase != "" && s.phase != Serving:
		return "its listeners open again"
	}
	return ""
}

func (s *State) edit(edit func()) {
	s.mutex.Lock()
	before := s.hello()
	edit()
	after := s.hello()
	s.mutex.Unlock()
	if before != after {
		s.changed()
	}
}
