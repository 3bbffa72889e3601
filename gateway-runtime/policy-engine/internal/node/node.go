// Package node manages the desired state of one node: it receives API bundles from the controller, turns them into chains and
// Envoy's configuration, make before break, and reports for each whether it is served.
//
// The decisions are pure functions: planOf (plan.go), bisect (bisect.go), policies.find (policy.go). One goroutine, Run's, owns all
// state, in values with one job each, none of which knows the node: the queue of APIs that do not run (queue), the chains and their
// instances (chains.go), what Envoy is sent (rollout.go, gateway), the schedule of rotations (rotation). The stream to the
// controller (controller) only fills the inbox and drains the outbox, and other goroutines read a snapshot (published.go).
package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/draining"
	"gatewright.dev/policy-engine/internal/node/gateway"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/node/rotation"
	"gatewright.dev/policy-engine/internal/node/signedstate"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// Envoy is the part of an xDS server that a node needs; *xds.Server implements it.
type Envoy interface {
	SetClusters(ctx context.Context, clusters xds.Resources) error
	SetRoutes(ctx context.Context, config xds.Resource) error
	SetSecrets(ctx context.Context, secrets xds.Resources) error
	SetListeners(ctx context.Context, listeners xds.Resources) error
	Connected() <-chan struct{}
}

// Observer receives the events of the node's chains, and the removals of APIs.
type Observer interface {
	chain.Observer
	// APIRemoved reports that an API was removed. Its chains stay until the exchanges in them have ended.
	APIRemoved(name string)
}

// Resolver finds the addresses of a host; *net.Resolver implements it.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Credentials are files by which a node and a controller over the network know each other.
type Credentials = controller.Credentials

// StateSources are places of states that a node starts from, where it has none of its own.
type StateSources = signedstate.Sources

// Consumers are the controller's consumers at this node; *consumers.Index implements it.
type Consumers interface {
	Len() int
	Versions() *nodev1.ConsumerVersions
	Apply(change *nodev1.ConsumerChange)
}

// Options configure a node.
type Options struct {
	NodeID        string
	Labels        map[string]string // by which APIs choose nodes
	EngineVersion string
	Controller    string      // "unix:PATH" or "host:port"; empty: the node serves its last good state only
	Credentials   Credentials // of a controller over the network
	StateDir      string
	States        StateSources                                          // places of states to start from, where StateDir has none
	Gateway       *nodev1.Gateway                                       // the Gateway to begin with, from a file; nil: the node has no listener until the controller sends a Gateway
	GatewayDigest func() string                                         // digest of that file's present content; nil: the file does not change
	KeepsGateway  bool                                                  // serve the file's Gateway, whatever the controller sends
	Telemetry     func(*nodev1.Telemetry)                               // called with the telemetry settings of each Gateway that is served, nil for one without; must not block. nil: not called
	AdminAddress  func() string                                         // the address of /metrics once Telemetry has returned; "": none. nil: none
	Store         func(*nodev1.Store)                                   // as Telemetry, for the place where policies keep state
	Observe       func(context.Context, nodev1.NodeServiceClient) error // sends exchanges to the controller until ctx or the stream ends; nil: none are sent
	CopyStates    func(context.Context, nodev1.NodeServiceClient) error // keeps the controller's signed state; nil: it is not kept
	Consumers     Consumers                                             // takes the controller's consumers; nil: the node takes none
	Policies      []Policy
	Secrets       string            // folder of the secret files; "": none
	Values        *redaction.Values // collects the secret values of all instances, for redaction; nil: unused
	Table         *chain.Table
	Operations    *operations.Tables      // of routes that operations share; nil: exchanges find none
	Attachments   *operations.Attachments // of APIs that routes of other Envoys name; nil: exchanges find none
	Bodies        *chain.Budget           // budget for the bodies that chains hold; nil: without a limit
	Shadows       *chain.Shadows          // budget for the copies that shadow attachments receive; nil: each chain has its own
	RequestLimit  time.Duration           // how long chains wait for bodies that policies want whole; 0: any time
	Observer      Observer                // receives the events of the chains' executions; nil: no observer
	Engine        xds.Engine              // where the engine runs that Envoy's listeners and routes ask
	Envoy         Envoy
	Resolver      Resolver // resolves the names of upstreams before Envoy does; nil: the node resolves none
	Timing        Timing
	Log           *slog.Logger
}

// Timing configures a node's waits. A zero field means its default.
type Timing struct {
	Acknowledge time.Duration // for Envoy's acknowledgement of an update; 10 s
	Probe       time.Duration // the same for each further try, once Envoy has left one unanswered; 3 s
	PerBundle   time.Duration // added to both, for each bundle that is served; 3 ms
	Search      time.Duration // for all tries of one update together; 60 s
	Grace       time.Duration // from a chain's last exchange to its end; 30 s
	Held        time.Duration // how long an exchange may stay in a chain that an update does not change; 60 s
	Gather      time.Duration // how long an update waits for one more API to be built, before the APIs that are built go on without it; 1 s
	Retry       time.Duration // the wait before the first retry after an error that may pass, doubled with each retry; 1 s
	RetryMost   time.Duration // the longest wait before a retry; 30 s
	Resolve     time.Duration // for the names of an API's upstreams; 5 s
	LastGood    time.Duration // for the last good version to be built, before a newer version is tried all the same; 60 s
	Examine     time.Duration // between two checks whether the policies of running APIs are ready; 1 s
	Replace     time.Duration // for the controller to replace an API of the last good state that did not come up; 10 s
	Watch       time.Duration // between two checks of the files of certificates and secrets; 1 s
	Start       time.Duration // how long a node without a state is not ready for APIs that it was sent and does not serve; 2 min
}

func (t Timing) withDefaults() Timing {
	for _, field := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Acknowledge, 10 * time.Second}, {&t.Probe, 3 * time.Second}, {&t.PerBundle, 3 * time.Millisecond},
		{&t.Search, time.Minute}, {&t.Grace, 30 * time.Second}, {&t.Held, time.Minute}, {&t.Gather, time.Second},
		{&t.Retry, time.Second}, {&t.RetryMost, 30 * time.Second}, {&t.Examine, time.Second}, {&t.Resolve, 5 * time.Second}, {&t.LastGood, time.Minute}, {&t.Replace, 10 * time.Second}, {&t.Watch, certificates.DefaultPeriod},
		{&t.Start, 2 * time.Minute},
	} {
		if *field.value <= 0 {
			*field.value = field.standard
		}
	}
	return t
}

func (t Timing) retry() backoff.Doubling {
	return backoff.Doubling{First: t.Retry, Longest: t.RetryMost}
}

// Node applies the desired state of one node. New → Restore → Run → Close.
type Node struct {
	*published // what other goroutines read
	options    Options
	timing     Timing
	log        *slog.Logger
	state      *statedir.Directory
	client     *controller.Client
	inbox      *controller.Inbox
	outbox     *controller.Outbox
	reporter   *reporter
	draining   *draining.State
	hellos     sync.Mutex // held while a hello is made and put into the outbox
	gateway    *gateway.State
	policies   atomic.Pointer[policies]
	renewed    chan struct{} // receives a value after the policies have changed
	secrets    *secrets.Store
	names      nameResolver
	chains     *chains
	background *background

	running         running
	resolved        map[string]bool                    // clusters of running versions whose names Envoy resolves; nil: not known since one has changed
	unserved        map[string]*statedir.Bundle        // last good versions that did not come up: they stay on disk, and are tried again
	unservedSecrets map[*statedir.Bundle][]secrets.Ref // that unserved versions name, by what was read of them
	queue           *buildQueue                        // the newest bundles of APIs that do not run, or not yet
	rollout         *rollout
	rotations       *rotation.Schedule
	newest          uint64 // revision of the newest update
	seeds           chan *signedstate.State
	notReady        statuses // of APIs that run and have a policy that is no longer ready
	unrestored      unrestored
	start           start
}

// New makes a node and its state directory. Nothing runs yet.
func New(options Options) (*Node, error) {
	state, err := statedir.Open(options.StateDir)
	if err != nil {
		return nil, err
	}
	timing := options.Timing.withDefaults()
	options.States.Labels = options.Labels
	n := &Node{
		published: newPublished(), options: options, timing: timing, log: options.Log, state: state,
		inbox: controller.NewInbox(), outbox: controller.NewOutbox(), renewed: make(chan struct{}, 1), seeds: make(chan *signedstate.State, 1),
		secrets: secrets.NewStore(options.Secrets, timing.Watch, options.Log), names: nameResolver{options.Resolver, timing.Resolve},
		background: newBackground(), running: running{}, unserved: map[string]*statedir.Bundle{},
		queue: queue.New[*build](timing.retry(), timing.LastGood), rotations: rotation.NewSchedule(timing.retry()),
		gateway: gateway.New(gateway.Options{File: options.Gateway, FileDigest: options.GatewayDigest, Directory: state,
			Engine: options.Engine, Envoy: options.Envoy, Acknowledge: timing.Acknowledge, Watch: timing.Watch, Retry: timing.retry(), Log: options.Log}),
	}
	n.client = &controller.Client{Address: options.Controller, Credentials: options.Credentials, KeepsGateway: options.KeepsGateway, Hello: n.hello,
		FirstReport: func() *nodev1.Report { return n.snapshot.Load().notReady },
		Observe:     options.Observe, CopyStates: options.CopyStates, Inbox: n.inbox, Outbox: n.outbox, Log: options.Log}
	n.draining = draining.New(n.sayHello)
	n.client.Drain = n.draining.Want
	if options.Consumers != nil {
		n.client.Consumers = options.Consumers.Apply
	}
	n.reporter = &reporter{outbox: n.outbox, log: options.Log}
	n.rollout = &rollout{envoy: options.Envoy, timing: timing, log: options.Log, published: n.published,
		retired: retirements{grace: timing.Grace, held: timing.Held}}
	n.policies.Store(policiesOf(options.Policies))
	n.chains = newChains(options, &n.policies, newBinder(&n.policies, n.secrets), timing.Grace, n.background.deliverDeparture)
	n.publish()
	return n, nil
}

// SetPolicies replaces the policies that the node can run, and reports them to the controller. Instances go on, except those of
// policies that have moved, which are built again; rejected APIs are tried again.
func (n *Node) SetPolicies(policies []Policy) {
	n.policies.Store(policiesOf(policies))
	select {
	case n.renewed <- struct{}{}:
	default:
	}
	n.sayHello()
}

// Draining is whether the node takes new connections.
func (n *Node) Draining() *draining.State { return n.draining }

// Run applies updates until ctx ends. It needs Restore to have returned.
func (n *Node) Run(ctx context.Context) {
	client := make(chan struct{})
	go func() {
		defer close(client)
		n.client.Run(ctx)
	}()
	defer func() { <-client }()
	if n.snapshot.Load().noState != "" {
		seeding := make(chan struct{})
		go func() {
			defer close(seeding)
			n.seedLater(ctx)
		}()
		defer func() { <-seeding }()
	}
	retry, sweep := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer retry.Stop()
	readinessTicker := time.NewTicker(n.timing.Examine)
	defer readinessTicker.Stop()
	defer sweep.Stop()
	for ctx.Err() == nil {
		sweep.Reset(n.rollout.sweep(ctx, n.running, n.chains.progressOf))
		retry.Reset(min(n.queue.NextRetry(time.Now()), n.gateway.NextRetry(time.Now())))
		select {
		case <-ctx.Done():
		case <-n.inbox.Arrived():
			if update := n.inbox.Drain(); update != nil {
				n.apply(ctx, update, n.timing.Acknowledge)
			}
		case state := <-n.seeds:
			n.applySeed(ctx, state)
		case <-n.options.Envoy.Connected():
			n.confirm(ctx)
			n.followGateway(n.gateway.Confirm(ctx))
			n.rollout.refreshRoutes(ctx, n.target(n.running, nil))
		case files := <-n.gateway.Changes():
			n.followGateway(n.gateway.ReplaceCertificates(ctx, files))
		case <-n.secrets.Changes():
			n.rotations.Add(n.chains.withSecrets()...)
			n.queue.RetryPending(time.Now())
			n.rotate(time.Now())
		case done := <-n.background.rotated:
			n.finishRotation(done, time.Now())
		case departure := <-n.background.departures:
			n.chains.closeDeparted(departure)
		case <-sweep.C:
		case b := <-n.background.built:
			n.background.collect(b)
			n.advance(ctx, nil, step{envoyTimeout: n.timing.Acknowledge}, outcomes{})
		case <-n.renewed:
			n.queue.RetryAll(time.Now())
			n.rotations.AddMoved(n.chains.moved()...)
			n.rotate(time.Now())
		case <-retry.C:
			n.followGateway(n.gateway.Retry(ctx, n.running.secretUses()))
			n.rollout.refreshRoutes(ctx, n.target(n.running, nil))
			n.retryDue(ctx)
		case <-readinessTicker.C:
			n.tick(time.Now())
		}
		n.followStart(time.Now())
	}
}

// tick checks what no event announces: the readiness of policies, waits that expire, secrets in use and rotations that are due.
func (n *Node) tick(now time.Time) {
	n.checkReadiness()
	for _, update := range n.queue.ExpireWaits(now) {
		n.inbox.Requeue(update)
	}
	n.unrestored.expire(now, func(api string) bool { // not served, and no newer bundle has arrived
		entry := n.queue.Get(api)
		return n.running[api] == nil && n.unserved[api] != nil && (entry == nil || entry.Message.GetDigest() == n.unserved[api].GetDigest())
	}, n.log)
	if n.secrets.Keep(n.usedSecrets()) {
		n.storeSecrets()
	}
	n.rotate(now)
}

// ForgetStored is called between two runs if another process may have written into the state directory meanwhile: the next state
// is written whole.
func (n *Node) ForgetStored() { n.state.Forget() }

// Close closes all policy instances. It is called after Run has returned, once no exchange is under way.
func (n *Node) Close() {
	n.background.close()
	n.gateway.Close()
	n.secrets.Close()
	n.chains.builds.Wait()
	for _, b := range n.background.drain() {
		n.chains.discard(b)
	}
	n.chains.closeAll()
}

// target returns the present state for Envoy, with base in place of the running versions.
func (n *Node) target(base, beside running) target {
	return target{base: base, beside: beside, queued: n.queue, front: n.gateway.Front()}
}

// ReplaceGateway makes a Gateway the node's, as an update from the controller would. It returns nil once the Gateway is applied,
// otherwise the reason. It may be called from any goroutine.
func (n *Node) ReplaceGateway(ctx context.Context, message *nodev1.Gateway) error {
	before := n.snapshot.Load().gateway.Status
	n.inbox.Add(&nodev1.Update{Revision: n.snapshot.Load().revision, Gateway: message})
	ctx, cancel := context.WithTimeoutCause(ctx, n.timing.Acknowledge, errors.New("the node did not report its outcome in time"))
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		status := n.snapshot.Load().gateway.Status
		if status == before || status.GetDigest() != message.GetDigest() {
			continue
		}
		if status.GetState() != nodev1.ApiStatus_STATE_APPLIED {
			return errors.New(status.GetReason())
		}
		return nil
	}
}

// followGateway does what follows from a change of the Gateway.
func (n *Node) followGateway(outcome gateway.Outcome) {
	if outcome.IsEmpty() {
		return
	}
	if committed := outcome.Committed; committed != nil {
		if notify := n.options.Telemetry; notify != nil {
			notify(committed.GetTelemetry())
		}
		if address := n.options.AdminAddress; address != nil && n.setAdminAddress(address()) {
			n.sayHello() // no API may use that address
		}
		if notify := n.options.Store; notify != nil {
			notify(committed.GetStore())
		}
	}
	if outcome.SecretsChanged {
		n.queue.RetryAll(time.Now())
	}
	n.publish()
	for _, report := range outcome.Reports {
		n.outbox.AddReport(report)
	}
}

// hello describes the node to a controller. It may be called from any goroutine.
func (n *Node) hello() *nodev1.Hello {
	now := n.snapshot.Load()
	hello := &nodev1.Hello{NodeId: n.options.NodeID, Labels: n.options.Labels, EngineVersion: n.options.EngineVersion, Bundles: now.refs,
		GatewayDigest: now.gateway.Stats.Digest, KeepsGateway: n.options.KeepsGateway, AdminAddress: now.adminAddress, Drain: n.draining.Hello(),
		Secrets: secretVersions(n.secrets.Sent())}
	if n.options.Consumers != nil {
		hello.Consumers = n.options.Consumers.Versions()
	}
	policies := *n.policies.Load()
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		hello.Policies = append(hello.Policies, &nodev1.PolicyRef{
			Name: policies[id].Name, Version: policies[id].Version, DefinitionDigest: policies[id].DefinitionDigest})
	}
	return hello
}

// sayHello describes the node to the controller again. It may be called from any goroutine: the last hello is the newest one.
func (n *Node) sayHello() {
	n.hellos.Lock()
	defer n.hellos.Unlock()
	n.outbox.AddHello(n.hello())
}

// publish updates what other goroutines read of the APIs and the Gateway.
func (n *Node) publish() {
	n.updateSnapshot(func(s *snapshot) {
		s.gateway = n.gateway.View()
		s.obstacles = n.queue.Obstacles()
		s.refs, s.served = bundleRefs(n.running, n.unserved, s.obstacles)
		s.pending, s.unserved = n.queue.Len(), len(n.unserved)
		s.running = n.running.bundles()
	})
}
