package xds

import (
	"errors"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"gatewright.dev/policy-engine/internal/xds/inside"
)

// Engine is where the engine runs that Envoy's filters ask.
type Engine int

// The places of an engine.
const (
	ExtProc Engine = iota // in a process of its own, which Envoy asks by ext_proc, as the controller's routes and listeners say
	InEnvoy               // in Envoy's process, as a dynamic module; by ext_proc only where policies want a body
)

// place makes checked routes those of an engine in this place. It is called once for each bundle, and its result serialized.
func (e Engine) place(routes ...*routev3.Route) error {
	if e == ExtProc {
		return nil
	}
	var errs []error
	for _, route := range routes {
		errs = append(errs, inside.Route(route))
	}
	return errors.Join(errs...)
}

// listener returns a checked listener for an engine in this place, serialized. text is the listener as the controller has sent it.
func (e Engine) listener(listener *listenerv3.Listener, text []byte) ([]byte, error) {
	if e == ExtProc {
		return text, nil
	}
	if err := inside.Listener(listener); err != nil {
		return nil, err
	}
	return marshal(listener)
}
