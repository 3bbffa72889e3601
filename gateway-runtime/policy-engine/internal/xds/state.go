package xds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
)

// ErrNoEnvoy is returned while no Envoy is connected: what was set is kept, and served once one connects.
var ErrNoEnvoy = errors.New("no Envoy is connected")

// ErrNoAnswer is returned when Envoy has neither taken nor refused what was set. With clusters that mostly means that it
// waits for an upstream's name to resolve: it holds back its acknowledgement of all clusters until then.
var ErrNoAnswer = errors.New("no acknowledgement by Envoy in time")

// RefusedError is Envoy's NACK. Envoy goes on with what it had.
type RefusedError struct {
	TypeURL string
	Reason  string // Envoy's words
}

func (e *RefusedError) Error() string { return "refused by Envoy: " + e.Reason }

// desired is what Envoy shall have of one type. Each change is a generation, from 1.
type desired struct {
	resources  Resources
	generation uint64
	confirmed  uint64 // the newest generation that the connected Envoy has acknowledged
	refused    uint64 // the newest generation that it has refused
	reason     string
	updates    UpdateStats
	subscribed bool // the connected Envoy has asked for something of this type
}

// answered reports whether the connected Envoy has acknowledged or refused what it shall have now.
func (d *desired) answered() bool { return max(d.confirmed, d.refused) >= d.generation }

// state is all that Envoy shall have, and what it has said to it. Every change of either closes `changed`.
type state struct {
	mutex   sync.Mutex
	types   map[string]*desired
	envoy   *connection // the one that connected last; its answers count
	changed chan struct{}
}

func newState() (*state, error) {
	empty, err := Compose(nil, Front{})
	if err != nil {
		return nil, err
	}
	return &state{
		changed: make(chan struct{}),
		types: map[string]*desired{
			SecretType:   {resources: Resources{}, generation: 1},
			ClusterType:  {resources: Resources{}, generation: 1},
			ListenerType: {resources: Resources{}, generation: 1},
			RouteType:    {resources: Resources{RouteConfigName: empty}, generation: 1},
		},
	}, nil
}

// broadcast wakes everybody who waits. The mutex is held.
func (s *state) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// set makes resources the wanted ones of a type and returns the generation to wait for. What is equal already stays.
func (s *state) set(typeURL string, resources Resources) uint64 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	wanted := s.types[typeURL]
	same := maps.EqualFunc(wanted.resources, resources, func(a, b Resource) bool { return a.Version == b.Version })
	if same && wanted.refused != wanted.generation {
		return wanted.generation
	}
	wanted.resources = maps.Clone(resources)
	wanted.generation++
	s.broadcast()
	return wanted.generation
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
	wanted := s.types[typeURL]
	switch {
	case s.envoy == nil:
		return nil, true, ErrNoEnvoy
	case wanted.confirmed >= generation:
		return nil, true, nil
	case wanted.refused >= generation:
		return nil, true, &RefusedError{TypeURL: typeURL, Reason: wanted.reason}
	case s.unasked(typeURL):
		return nil, true, nil
	default:
		return s.changed, false, nil
	}
}

// unasked reports whether Envoy does without anything of a type that it asks for by name alone: no cluster and no listener
// names a secret, no listener has routes. It says so before it acknowledges the listeners. The mutex is held.
func (s *state) unasked(typeURL string) bool {
	byName := typeURL == SecretType || typeURL == RouteType && s.types[ListenerType].answered()
	return byName && !s.types[typeURL].subscribed
}

// connect makes envoy the one whose answers count. It has said nothing yet.
func (s *state) connect(envoy *connection) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.envoy = envoy
	for _, wanted := range s.types {
		wanted.confirmed, wanted.refused, wanted.reason, wanted.subscribed = 0, 0, "", false
	}
	s.broadcast()
}

// subscribed takes in that envoy has asked for a type.
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

// count counts an answer of Envoy's to something that it was sent.
func (s *state) count(typeURL string, refused bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if refused {
		s.types[typeURL].updates.Refused++
	} else {
		s.types[typeURL].updates.Acknowledged++
	}
}

// answer takes in what Envoy says to a generation: nothing (reason empty, refused false) is an acknowledgement.
func (s *state) answer(envoy *connection, typeURL string, generation uint64, refused bool, reason string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	wanted := s.types[typeURL]
	if s.envoy != envoy {
		return
	}
	if refused {
		wanted.refused, wanted.reason = max(wanted.refused, generation), reason
	} else {
		wanted.confirmed = max(wanted.confirmed, generation)
	}
	s.broadcast()
}

// wanted returns what Envoy shall have of a type now, and a channel that is closed when that, or anything, changes.
func (s *state) wanted(typeURL string) (resources Resources, generation uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.types[typeURL].resources, s.types[typeURL].generation
}

func (s *state) changes() <-chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.changed
}
