package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/statecopy"
	"gatewright.dev/policy-engine/internal/xds"
)

// Options are the options of an engine. DefaultOptions has the values of the optional ones. Addresses of sockets are
// "unix:PATH". Errors name an option as the command line does: ExtProc is --ext-proc.
type Options struct {
	Manifest              string              // path of a build's manifest.json
	Register              func(*Registry)     // registers the compiled-in Go policies; called once, before the engine starts
	NodeID                string              // of this node, as in its Envoy's bootstrap
	Labels                map[string]string   // of this node, by which APIs choose nodes; the controller checks them
	StateDir              string              // directory for the last good state; created if missing
	Secrets               string              // folder of the files of secrets that parameters name; empty: none
	Gateway               string              // path of a serialized node.v1.Gateway that applies from the start; empty: no listeners until a controller sends one
	KeepGateway           bool                // the file's Gateway applies even if the controller sends another
	Controller            string              // address, unix:PATH or host:port; empty: the node uses its last good state
	ControllerCredentials node.Credentials    // of a controller over the network
	States                node.StateSources   // places of states to start from, where StateDir has none
	StateListen           statecopy.Listen    // where other nodes get the signed state of the controller; its token is States.Token
	Attach                AttachListen        // where Envoys that are not the node's own send requests
	Peers                 string              // peers.json, which lists the pids that may connect; empty: any process of this user
	Executors             map[string][]string // addresses of executor processes by group
	MetricsSources        []metrics.Source    // other processes of the node, whose metrics are served with the engine's
	InEnvoy               bool                // the engine runs in its Envoy's process, as a dynamic module
	Log                   *slog.Logger        // nil: slog.Default()
	LogLevel              *slog.LevelVar      // the level of Log; nil: it cannot be changed while the engine runs

	ExtProc string // the socket to which Envoy sends requests
	XDS     string // the socket from which Envoy gets its configuration
	Admin   string // the socket that answers /healthz, /ready, /stats, /chains and /executors

	DrainTimeout     time.Duration // how long exchanges under way may take to end once the engine is stopped
	ExecutorDrain    time.Duration // how long replaced executor processes may finish their exchanges
	Generation       uint64        // of the executors and the manifest
	QuarantineDeaths int           // number of executor processes that die within 30 s while a policy runs, after which it is under quarantine
	BodyMemory       int64         // bytes that the held bodies of all exchanges may take together
	RequestLimit     time.Duration // how long a request's body may take to arrive, if a policy needs it whole; 0: no limit
}

// DefaultOptions are the options with their defaults: 10 s and 30 s to drain, generation 1, quarantine after 3 deaths,
// 128 MiB of bodies, 60 s for each. The caller sets Manifest, Register, NodeID, StateDir, ExtProc, XDS and Admin.
func DefaultOptions() Options {
	return Options{DrainTimeout: 10 * time.Second, ExecutorDrain: 30 * time.Second, Generation: 1, QuarantineDeaths: 3,
		BodyMemory: defaultBodies, RequestLimit: time.Minute}
}

// place is where the engine runs, for Envoy's listeners and routes.
func (o *Options) place() xds.Engine {
	if o.InEnvoy {
		return xds.InEnvoy
	}
	return xds.ExtProc
}

// check returns all mistakes, and sets the defaults that are not constants.
func (o *Options) check() error {
	var errs []error
	if o.Register == nil {
		errs = append(errs, errors.New("Register: expected a function, got none"))
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return errors.Join(append(errs, o.mistakes()...)...)
}

// mistakes are those in the options that the command line can set, in the order of their names.
func (o *Options) mistakes() (errs []error) {
	refuse := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--"+name+": "+format, args...))
	}
	for _, required := range []struct{ name, value string }{
		{"manifest", o.Manifest}, {"node-id", o.NodeID}, {"state-dir", o.StateDir},
	} {
		if required.value == "" {
			refuse(required.name, "expected a value, got none")
		}
	}
	for _, socket := range []struct{ name, address string }{{"admin", o.Admin}, {"ext-proc", o.ExtProc}, {"xds", o.XDS}} {
		if _, err := socketPath(socket.address); err != nil {
			refuse(socket.name, "%w", err)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(o.Executors)) {
		if group == "" {
			refuse("executor", "expected GROUP=unix:PATH[,unix:PATH…], got no group")
		}
		for _, address := range o.Executors[group] {
			if _, err := socketPath(address); err != nil {
				refuse("executor", "group %s: %w", group, err)
			}
		}
	}
	if err := o.ControllerCredentials.Check(); err != nil {
		refuse("controller-authority", "%w", err)
	}
	o.StateListen.Token = o.States.Token
	if err := errors.Join(o.States.Check(), o.StateListen.Check()); err != nil {
		errs = append(errs, err)
	}
	if err := o.Attach.Check(); err != nil {
		errs = append(errs, err)
	}
	if o.DrainTimeout < 0 {
		refuse("drain-timeout", "expected a time like 10s, got %s", o.DrainTimeout)
	}
	if o.ExecutorDrain <= 0 {
		refuse("executor-drain", "expected a time like 10s, got %s", o.ExecutorDrain)
	}
	if o.QuarantineDeaths < 1 {
		refuse("quarantine-deaths", "expected a number from 1, got %d", o.QuarantineDeaths)
	}
	if o.BodyMemory < 1 {
		refuse("body-memory", "expected a number of bytes from 1, got %d", o.BodyMemory)
	}
	if o.RequestLimit < 0 {
		refuse("request-limit", "expected a time like 60s, or 0s for any, got %s", o.RequestLimit)
	}
	return errs
}
