package xds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// ErrNoEnvoy is returned while no Envoy is connected: the resources are kept, and served once one connects.
var ErrNoEnvoy = errors.New("no Envoy is connected")

// ErrNoAnswer is returned if Envoy neither acknowledges nor refuses in time. With clusters that mostly means that it
// waits for an upstream's name to resolve: it holds back its acknowledgement of all clusters until then.
var ErrNoAnswer = errors.New("no acknowledgement by Envoy in time")

// RefusedError is Envoy's NACK. Envoy goes on with the previous resources.
type RefusedError struct {
	TypeURL string
	Reason  string // Envoy's words
}

func (e *RefusedError) Error() string { return "refused by Envoy: " + e.Reason }

// desired is the desired state of one type. Each change is a generation, from 1.
type desired struct {
	resources  Resources
	generation uint64
	confirmed  uint64 // the newest generation that the connected Envoy has acknowledged
	refused    uint64 // the newest generation that it has refused
	reason     string
	updates    UpdateStats
	subscribed bool // the connected Envoy has requested resources of this type
}

// isAnswered reports whether the connected Envoy has acknowledged or refused the present generation.
func (d *desired) isAnswered() bool { return max(d.confirmed, d.refused) >= d.generation }

// state is Envoy's desired state, and Envoy's answers to it. Every change of either closes `changed`.
type state struct {
	mutex   sync.Mutex
	types   map[string]*desired
	envoy   *connection // the one that connected last; only its answers count
	changed chan struct{}
}

func newState() *state {
	empty := Compose(nil, Front{})
	return &state{
		changed: make(chan struct{}),
		types: map[string]*desired{
			SecretType:   {resources: Resources{}, generation: 1},
			ClusterType:  {resources: Resources{}, generation: 1},
			ListenerType: {resources: Resources{}, generation: 1},
			RouteType:    {resources: Resources{envoynames.RouteConfiguration: empty}, generation: 1},
		},
	}
}

// broadcast wakes all waiting goroutines. The caller holds the mutex.
func (s *state) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// set sets the resources of a type and returns the generation to wait for. Equal resources make no new generation.
func (s *state) set(typeURL string, resources Resources) uint64 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	d := s.types[typeURL]
	equal := maps.EqualFunc(d.resources, resources, func(a, b Resource) bool { return a.Version == b.Version })
	if equal && d.refused != d.generation {
		return d.generation
	}
	d.resources = maps.Clone(resources)
	d.generation++
	s.broadcast()
	return d.generation
}

// waitAcknowledged returns nil once the connected Envoy has acknowledged the generation or a later one.
func (s *state) waitAcknowledged(ctx context.Context, typeURL string, generation uint64) error {
	for {
		changed, done, err := s.outcome(typeURL, generation)
		if done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNoAnswer, context.Cause(ctx))
		}
	}
}

func (s *state) outcome(typeURL string, generation uint64) (changed <-chan struct{}, done bool, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	d := s.types[typeURL]
	switch {
	case s.envoy == nil:
		return nil, true, ErrNoEnvoy
	case d.confirmed >= generation:
		return nil, true, nil
	case d.refused >= generation:
		return nil, true, &RefusedError{TypeURL: typeURL, Reason: d.reason}
	case s.isUnrequested(typeURL):
		return nil, true, nil
	default:
		return s.changed, false, nil
	}
}

// isUnrequested reports whether Envoy requests nothing of a type that it requests by name: no cluster and no listener
// names a secret, or no listener has routes. Envoy requests before it acknowledges the listeners. The caller holds the mutex.
func (s *state) isUnrequested(typeURL string) bool {
	byName := typeURL == SecretType || typeURL == RouteType && s.types[ListenerType].isAnswered()
	return byName && !s.types[typeURL].subscribed
}

// envoyServes reports whether the connected Envoy has acknowledged listeners, and their routes, since it connected.
func (s *state) envoyServes() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	hasRoutes := s.types[RouteType].confirmed > 0 || s.isUnrequested(RouteType)
	return s.envoy != nil && s.types[ListenerType].confirmed > 0 && hasRoutes
}

// connect makes envoy the one whose answers count. It has not answered yet.
func (s *state) connect(envoy *connection) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.envoy = envoy
	for _, d := range s.types {
		d.confirmed, d.refused, d.reason, d.subscribed = 0, 0, "", false
	}
	s.broadcast()
}

// subscribed records that envoy has requested a type.
func (s *state) subscribed(envoy *connection, typeURL string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.envoy == envoy {
		s.types[typeURL].subscribed = true
	}
}

func (s *state) disconnect(envoy *connection) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.envoy == envoy {
		s.envoy = nil
		s.broadcast()
	}
}

// count counts an answer of Envoy's.
func (s *state) count(typeURL string, refused bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if refused {
		s.types[typeURL].updates.Refused++
	} else {
		s.types[typeURL].updates.Acknowledged++
	}
}

// answer records Envoy's answer to a generation: an acknowledgement, or with refused a refusal and its reason.
func (s *state) answer(envoy *connection, typeURL string, generation uint64, refused bool, reason string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	d := s.types[typeURL]
	if s.envoy != envoy {
		return
	}
	if refused {
		d.refused, d.reason = max(d.refused, generation), reason
	} else {
		d.confirmed = max(d.confirmed, generation)
	}
	s.broadcast()
}

// desiredOf returns the desired resources of a type, and their generation.
func (s *state) desiredOf(typeURL string) (resources Resources, generation uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.types[typeURL].resources, s.types[typeURL].generation
}

func (s *state) changes() <-chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.changed
}
