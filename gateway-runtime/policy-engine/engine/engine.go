// Package engine is the policy engine: Start runs one in a process of any kind, Main is the program. A build's main.go
// calls Main with the build's registry.
package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/consumers"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/policy-engine/internal/logexport"
	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/statecopy"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/policy-engine/internal/tracing"
	"gatewright.dev/policy-engine/internal/xds"
)

// Version is the engine's version.
const Version = "0.1.0"

// ErrStopped is Start's error if its context ended before the engine was ready.
var ErrStopped = errors.New("the engine was stopped while it started")

// Engine is a running policy engine.
type Engine struct {
	options       Options
	groups        *pythonbridge.Groups
	registry      *Registry
	deployMutex   sync.Mutex // one deployment at a time; it guards manifest and moves
	manifest      *manifest
	moves         map[string]int // number of moves of Python policies to another group, by name:version
	table         *chain.Table
	operations    *operations.Tables
	attachments   *operations.Attachments
	bodies        *chain.Budget
	shadows       *chain.Shadows
	counters      *exchange.Counters
	watches       exchange.Watches // the sources of watchers
	recorder      *recording.Recorder
	proxyAnswers  *proxyanswer.Counter
	values        redaction.Values // the policies' secrets, which recordings leave out
	traces        *tracing.Tracing
	node          *node.Node
	xds           *xds.Server
	exchanges     *extproc.Server // those of the node's own Envoy
	metrics       *metrics.Metrics
	adminListener *metrics.Listener
	logs          *logexport.Exporter
	store         *store.Store
	consumers     *consumers.Index
	states        *statecopy.Copy                  // nil: other nodes get none from this one
	redaction     atomic.Pointer[redaction.List]   // nil: not known yet
	secretNames   atomic.Pointer[nodev1.Redaction] // the source of redaction
	ready         atomic.Bool
	adminSettings atomic.Pointer[nodev1.Admin] // of the present Gateway
	handovers     chan handover
	handedOver    bool // run's

	done chan struct{}
	err  error // set before done is closed
}

// Start starts an engine, in the order that loses no request, and returns once it serves: it has built the chains of
// its last good state, and listens. It runs until ctx is done; then it drains. The caller waits for its end with Wait.
//
// An error lists all mistakes in the options at once, or names the part that could not be started; then all parts are
// closed.
func Start(ctx context.Context, options Options) (*Engine, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	e, err := build(options) //nolint:contextcheck // executors outlive the stop signal: exchanges under way need them
	if err != nil {
		return nil, err
	}
	servers, err := e.listen(ctx)
	if err != nil {
		e.close() //nolint:contextcheck // work under way ends after the stop signal
		return nil, err
	}
	failed := make(chan error, 5)
	servers.start(servers.admin, failed)
	// Before Envoy can connect: an Envoy that has outlived the last engine must not receive an empty state.
	disarm := context.AfterFunc(ctx, e.groups.Close) // a stop must not wait until chains are built
	e.node.Restore(ctx)
	if !disarm() {
		servers.close()
		e.close() //nolint:contextcheck // work under way ends after the stop signal
		return nil, ErrStopped
	}
	servers.start(servers.extProc, failed)
	servers.start(servers.xds, failed)
	if servers.attached.listener != nil {
		servers.start(servers.attached, failed)
	}
	servers.startStates(failed)
	e.ready.Store(true) // before run, which resets it
	e.options.Log.Info("ready", "pid", os.Getpid())
	go e.run(ctx, servers, failed)
	return e, nil
}

// Wait waits for the engine's end. It returns nil after an orderly stop, otherwise the reason of the failure.
func (e *Engine) Wait() error {
	<-e.done
	return e.err
}

// run runs the node until ctx is done or a server has failed, and then stops all parts in reverse order.
func (e *Engine) run(ctx context.Context, servers *servers, failed <-chan error) {
	defer close(e.done)
	updates := &updates{node: e.node}
	updates.start(ctx)
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case e.err = <-failed:
			ended = true
		case wish := <-e.handovers:
			e.answerHandover(ctx, wish, updates, servers)
		}
	}
	e.ready.Store(false)
	updates.cancel()
	servers.drain(e.options.DrainTimeout, e.options.Log)
	e.shadows.Close()
	e.groups.Close() // no exchange needs them now, and the building of a chain must not wait for them
	<-updates.stopped
	servers.close()
	e.close() //nolint:contextcheck // work under way ends after the stop signal
}

// shadowShare is the divisor of --body-memory for the copies of shadow attachments, which are held in addition.
const shadowShare = 4

func build(options Options) (*Engine, error) {
	manifest, err := readManifest(options.Manifest)
	if err != nil {
		return nil, err
	}
	e := &Engine{table: &chain.Table{}, operations: &operations.Tables{}, attachments: &operations.Attachments{}, manifest: manifest, moves: map[string]int{}, bodies: chain.NewBudget(options.BodyMemory), shadows: chain.NewShadows(chain.MaxShadows, chain.NewBudget(options.BodyMemory/shadowShare)), handovers: make(chan handover), done: make(chan struct{})}
	options.Log = e.newTracing(options)
	e.options, e.counters = options, exchange.NewCounters(options.Log)
	bridge := pythonbridge.Options{Generation: options.Generation, Drain: options.ExecutorDrain,
		QuarantineDeaths: options.QuarantineDeaths, Spans: e.traces.ExportPolicies}
	executors := options.Executors
	if !manifest.hasPython() {
		executors = nil
	}
	e.logs = logexport.New(options.NodeID, options.Log)
	e.store = store.New(options.Log)
	e.groups = pythonbridge.NewGroups(executors, bridge, options.Log)
	e.proxyAnswers = proxyanswer.NewCounter()
	e.recorder = recording.NewRecorder(recording.Options{Node: options.NodeID, Labels: options.Labels, Watches: &e.watches, Values: &e.values, Documents: e.documents(), Log: options.Log})
	if err := e.complete(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) complete() (err error) {
	if e.consumers, err = consumers.Open(e.options.StateDir, e.options.Log); err != nil {
		return err
	}
	e.registry = newRegistry(e.groups, e.store, e.consumers, e.options.Log)
	e.options.Register(e.registry)
	policies, err := e.registry.policies(e.manifest)
	if err != nil {
		return err
	}
	gateway, err := readGateway(e.options.Gateway)
	if err != nil {
		return err
	}
	e.xds = xds.NewServer(e.options.NodeID, e.options.Log)
	e.node, err = node.New(node.Options{
		NodeID: e.options.NodeID, Labels: e.options.Labels, EngineVersion: Version, Controller: e.options.Controller, Credentials: e.options.ControllerCredentials, StateDir: e.options.StateDir, States: e.options.States,
		Gateway: gateway, GatewayDigest: e.gatewayDigest, KeepsGateway: e.options.KeepGateway, Policies: policies, Secrets: e.options.Secrets, Values: &e.values, Table: e.table, Operations: e.operations, Attachments: e.attachments, Bodies: e.bodies, Shadows: e.shadows, RequestLimit: e.options.RequestLimit,
		Observer: apiObserver{e.counters, e.proxyAnswers}, Engine: e.options.place(), Envoy: e.xds, Resolver: net.DefaultResolver,
		Telemetry: e.setTelemetry, AdminAddress: func() string { return e.adminListener.Actual() }, Store: e.store.Apply, Observe: e.recorder.Observe, CopyStates: e.copyStates(), Consumers: e.consumers, Log: e.options.Log,
	})
	if err != nil {
		return err
	}
	e.makeMetrics()
	return nil
}

// copyStates keeps the controller's signed state for other nodes; nil: none is served.
func (e *Engine) copyStates() func(context.Context, nodev1.NodeServiceClient) error {
	if e.options.StateListen.Address == "" {
		return nil
	}
	e.states = statecopy.New(e.options.NodeID, e.options.Labels, e.options.StateDir, e.options.StateListen.Token, e.options.Log)
	return e.states.Follow
}

// close closes the dependencies of chains, then the chains: no exchange is under way.
func (e *Engine) close() {
	e.groups.Close()
	var ending sync.WaitGroup // each may wait a few seconds for an answer, and the supervisor waits as long for all of them
	ending.Go(e.logs.Close)
	ending.Go(e.traces.Close)
	if e.adminListener != nil {
		e.adminListener.Close()
	}
	if e.node != nil {
		e.node.Close()
	}
	e.store.Close() // after the policies
	if e.consumers != nil {
		e.consumers.Close()
	}
	ending.Wait()
}

// apiObserver observes chains, and the removal of APIs.
type apiObserver struct {
	*exchange.Counters
	proxyAnswers *proxyanswer.Counter
}

// APIRemoved drops the counts of the API.
func (o apiObserver) APIRemoved(api string) {
	o.Counters.APIRemoved(api)
	o.proxyAnswers.APIRemoved(api)
}
