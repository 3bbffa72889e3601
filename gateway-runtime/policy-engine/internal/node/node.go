// Package node manages the desired state of one node: it receives API bundles from the controller, turns them into chains and
// Envoy's configuration, make before break, and reports for each whether it is served.
//
// The decisions are pure functions: planOf (plan.go), bisect (bisect.go), policies.find (policy.go). One
// goroutine, Run's, owns all state; the stream to the controller (controller) only fills the inbox and drains the outbox.
package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/gateway"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/node/rotation"
	"gatewright.dev/policy-engine/internal/node/statedir"
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

// Options configure a node.
type Options struct {
	NodeID        string
	EngineVersion string
	Controller    string // "unix:PATH" or "host:port"; empty: the node serves its last good state only
	StateDir      string
	Gateway       *nodev1.Gateway                                       // the Gateway to begin with, from a file; nil: the node has no listener until the controller sends a Gateway
	GatewayDigest func() string                                         // digest of that file's present content; nil: the file does not change
	KeepsGateway  bool                                                  // serve the file's Gateway, whatever the controller sends
	Telemetry     func(*nodev1.Telemetry)                               // called with the telemetry settings of each Gateway that is served, nil for one without; must not block. nil: not called
	AdminAddress  func() string                                         // the address of /metrics once Telemetry has returned; "": none. nil: none
	Store         func(*nodev1.Store)                                   // as Telemetry, for the place where policies keep state
	Observe       func(context.Context, nodev1.NodeServiceClient) error // sends exchanges to the controller until ctx or the stream ends; nil: none are sent
	Policies      []Policy
	Secrets       string            // folder of the secret files; "": none
	Values        *redaction.Values // collects the secret values of all instances, for redaction; nil: unused
	Table         *chain.Table
	Bodies        *chain.Budget  // budget for the bodies that chains hold; nil: without a limit
	Shadows       *chain.Shadows // budget for the copies that shadow attachments receive; nil: each chain has its own
	RequestLimit  time.Duration  // how long chains wait for bodies that policies want whole; 0: any time
	Observer      Observer       // receives the events of the chains' executions; nil: no observer
	Envoy         Envoy
	Resolver      Resolver // resolves the names of upstreams before Envoy does; nil: the node resolves none
	Timing        Timing
	Log           *slog.Logger
}

// Timing configures a node's waits. A zero field means its default.
type Timing struct {
	Acknowledge time.Duration // for Envoy's acknowledgement of an update; 10 s
	Probe       time.Duration // the same for each further try, once Envoy has left one unanswered; 3 s
	PerBundle   time.Duration // added to both, for each bundle that is served; 1 ms
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
}

func (t Timing) withDefaults() Timing {
	for _, field := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Acknowledge, 10 * time.Second}, {&t.Probe, 3 * time.Second}, {&t.PerBundle, time.Millisecond},
		{&t.Search, time.Minute}, {&t.Grace, 30 * time.Second}, {&t.Held, time.Minute}, {&t.Gather, time.Second},
		{&t.Retry, time.Second}, {&t.RetryMost, 30 * time.Second}, {&t.Examine, time.Second}, {&t.Resolve, 5 * time.Second}, {&t.LastGood, time.Minute}, {&t.Replace, 10 * time.Second}, {&t.Watch, certificates.DefaultPeriod},
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
	options  Options
	timing   Timing
	log      *slog.Logger
	store    *statedir.Directory
	chains   *chains
	policies atomic.Pointer[policies]
	running  running
	unserved map[string]*nodev1.ApiBundle // last good versions that did not come up: they stay on disk, and are tried again
	retired  []*retired                   // versions that exchanges may still be in
	queue    *buildQueue                  // the newest bundles of APIs that do not run, or not yet
	routed   []*xds.Bundle                // the bundles that Envoy's present routes were composed of; nil: Envoy has not accepted them
	front    xds.Front                    // the Gateway's part of those routes
	notReady map[string]*nodev1.ApiStatus // APIs that run and have a policy that is no longer ready

	unrestored unrestored
	gateway    *gateway.State
	secrets    *secrets.Store
	rotations  *rotation.Schedule

	renewed        chan struct{}
	background     *background
	names          nameResolver
	client         *controller.Client
	inbox          *controller.Inbox
	outbox         *controller.Outbox
	bundleRefs     atomic.Pointer[[]*nodev1.BundleRef] // for the next hello
	gatewayView    atomic.Pointer[gateway.View]
	adminAddress   atomic.Pointer[string] // for the next hello; nil: nowhere
	served         atomic.Int64           // APIs, for Stats
	pending        atomic.Int64           // as these are
	down           atomic.Int64
	unrotated      atomic.Int64                        // APIs that cannot use a changed secret, for Stats
	notReadyReport atomic.Pointer[nodev1.Report]       // of notReady; nil: all APIs are ready
	clustersInUse  atomic.Pointer[[]*xds.Bundle]       // for Clusters
	routesInUse    atomic.Pointer[routesInUse]         // for Near
	obstacles      atomic.Pointer[map[string]Obstacle] // of APIs that are queued, by API
	stats          counters
}

// New makes a node and its state directory. Nothing runs yet.
func New(options Options) (*Node, error) {
	store, err := statedir.Open(options.StateDir)
	if err != nil {
		return nil, err
	}
	n := &Node{
		options: options, timing: options.Timing.withDefaults(), log: options.Log, store: store,
		running: running{}, unserved: map[string]*nodev1.ApiBundle{},
		background: newBackground(), renewed: make(chan struct{}, 1),
		inbox: controller.NewInbox(), outbox: controller.NewOutbox(),
	}
	n.client = &controller.Client{Address: options.Controller, KeepsGateway: options.KeepsGateway, Hello: n.hello, FirstReport: n.notReadyReport.Load,
		Observe: options.Observe, Inbox: n.inbox, Outbox: n.outbox, Log: options.Log}
	n.rotations = rotation.NewSchedule(n.timing.retry())
	n.names = nameResolver{options.Resolver, n.timing.Resolve}
	n.queue = queue.New[*build](n.timing.retry(), n.timing.LastGood)
	n.policies.Store(policiesOf(options.Policies))
	n.gateway = gateway.New(gateway.Options{File: options.Gateway, FileDigest: options.GatewayDigest, Directory: store,
		Envoy: options.Envoy, Acknowledge: n.timing.Acknowledge, Watch: n.timing.Watch, Retry: n.timing.retry(), Log: options.Log})
	n.secrets = secrets.NewStore(options.Secrets, n.timing.Watch, options.Log)
	n.chains = newChains(options, &n.policies, newBinder(&n.policies, n.secrets), n.timing.Grace, n.background.deliverDeparture)
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
	n.outbox.AddHello(n.hello())
}

// Run applies updates until ctx ends. It needs Restore to have returned.
func (n *Node) Run(ctx context.Context) {
	client := make(chan struct{})
	go func() {
		defer close(client)
		n.client.Run(ctx)
	}()
	defer func() { <-client }()
	retry, sweep := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer retry.Stop()
	readinessTicker := time.NewTicker(n.timing.Examine)
	defer readinessTicker.Stop()
	defer sweep.Stop()
	for ctx.Err() == nil {
		sweep.Reset(n.sweepRetired(ctx))
		retry.Reset(min(n.queue.NextRetry(time.Now()), n.gateway.NextRetry(time.Now())))
		select {
		case <-ctx.Done():
		case <-n.inbox.Arrived():
			if update := n.inbox.Drain(); update != nil {
				n.apply(ctx, update, n.timing.Acknowledge)
			}
		case <-n.options.Envoy.Connected():
			n.confirm(ctx)
			n.followGateway(n.gateway.Confirm(ctx))
			n.setFallbackRoutes(ctx)
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
			n.advance(ctx, step{envoyTimeout: n.timing.Acknowledge}, outcomes{})
		case <-n.renewed:
			n.queue.RetryAll(time.Now())
			n.rotations.AddMoved(n.chains.moved()...)
			n.rotate(time.Now())
		case <-retry.C:
			n.followGateway(n.gateway.Retry(ctx, n.running.secretUses()))
			n.setFallbackRoutes(ctx)
			n.retryDue(ctx)
		case <-readinessTicker.C:
			n.tick(time.Now())
		}
	}
}

// tick checks what no event announces: the readiness of policies, waits that expire, secrets in use and rotations that are due.
func (n *Node) tick(now time.Time) {
	n.checkReadiness()
	for _, update := range n.queue.ExpireWaits(now) {
		n.inbox.Requeue(update)
	}
	n.expireUnrestored(now)
	n.secrets.Keep(usedSecrets(n.chains, n.queue))
	n.rotate(now)
}

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

// ReplaceGateway makes a Gateway the node's, as an update from the controller would. It returns nil once the Gateway is applied,
// otherwise the reason. It may be called from any goroutine.
func (n *Node) ReplaceGateway(ctx context.Context, message *nodev1.Gateway) error {
	before := n.gatewayView.Load().Status
	n.inbox.Add(&nodev1.Update{Revision: n.stats.revision.Load(), Gateway: message})
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
		status := n.gatewayView.Load().Status
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
		n.publishAdminAddress()
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

// publishAdminAddress sends the controller a hello if the admin listener's address has changed: no API may use that address.
func (n *Node) publishAdminAddress() {
	if n.options.AdminAddress == nil {
		return
	}
	address := n.options.AdminAddress()
	if published := n.adminAddress.Swap(&address); published == nil && address == "" || published != nil && *published == address {
		return
	}
	n.outbox.AddHello(n.hello())
}

// hello describes the node to a controller. It may be called from any goroutine.
func (n *Node) hello() *nodev1.Hello {
	hello := &nodev1.Hello{NodeId: n.options.NodeID, EngineVersion: n.options.EngineVersion, Bundles: *n.bundleRefs.Load(),
		GatewayDigest: n.gatewayView.Load().Stats.Digest, KeepsGateway: n.options.KeepsGateway}
	if at := n.adminAddress.Load(); at != nil {
		hello.AdminAddress = *at
	}
	policies := *n.policies.Load()
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		hello.Policies = append(hello.Policies, &nodev1.PolicyRef{
			Name: policies[id].Name, Version: policies[id].Version, DefinitionDigest: policies[id].DefinitionDigest})
	}
	return hello
}

// publish updates the values of the next hello and of Stats.
func (n *Node) publish() {
	refs := map[string]*nodev1.BundleRef{}
	for api := range n.unserved {
		refs[api] = &nodev1.BundleRef{Api: api, Unsettled: true}
	}
	obstacles := n.queue.Obstacles()
	for api := range obstacles {
		refs[api] = &nodev1.BundleRef{Api: api, Unsettled: true}
	}
	n.obstacles.Store(&obstacles)
	served := 0
	for api, v := range n.running {
		ref := &nodev1.BundleRef{Api: api, Unsettled: !v.acknowledged || refs[api] != nil}
		if good := v.lastGood(); good != nil {
			ref.Digest = good.message.GetDigest()
			served++
		}
		refs[api] = ref
	}
	list := make([]*nodev1.BundleRef, 0, len(refs))
	for _, api := range slices.Sorted(maps.Keys(refs)) {
		list = append(list, refs[api])
	}
	n.bundleRefs.Store(&list)
	view := n.gateway.View()
	n.gatewayView.Store(&view)
	n.publishClusters()
	n.served.Store(int64(served))
	n.pending.Store(int64(n.queue.Len()))
	n.down.Store(int64(len(n.unserved)))
}

type counters struct {
	updates, applied, rejected atomic.Uint64
	revision                   atomic.Uint64
}

// Stats are a node's counters for the admin endpoint.
type Stats struct {
	ControllerConnected bool   `json:"controllerConnected"`
	Revision            uint64 `json:"revision"` // of the last update that was applied
	APIs                int    `json:"apis"`     // served, acknowledged by Envoy
	Pending             int    `json:"pending"`  // APIs with a version that waits to be tried, or tried again
	Unserved            int    `json:"unserved"` // APIs of which not even the last good version came up
	Updates             uint64 `json:"updates"`
	Applied             uint64 `json:"applied"`
	Rejected            uint64 `json:"rejected"`
	StateErrors         uint64 `json:"stateErrors"` // writes to the state directory that failed

	Gateway      GatewayStats                     `json:"gateway"`
	Certificates map[string]certificates.Warnings `json:"certificates"` // the Gateway's readable certificates: when they expire
	Secrets      SecretStats                      `json:"secrets"`
}

// SecretStats count the secrets that APIs name, and those that cannot be used; instances built with an earlier value go on.
type SecretStats struct {
	InUse        int `json:"inUse"`
	FailingFiles int `json:"failingFiles"` // secrets whose file is not there, or cannot be read
	FailingAPIs  int `json:"failingApis"`  // APIs with a policy that cannot use a changed secret
}

// GatewayStats describe the node's Gateway.
type GatewayStats = gateway.Stats

// FailingFile is a certificate or an authority whose files cannot be used.
type FailingFile = gateway.FailingFile

// Stats returns the counters as they are now.
func (n *Node) Stats() Stats {
	return Stats{
		ControllerConnected: n.client.Connected(), Revision: n.stats.revision.Load(), APIs: int(n.served.Load()),
		Updates: n.stats.updates.Load(), Applied: n.stats.applied.Load(), Rejected: n.stats.rejected.Load(),
		StateErrors: n.store.FailedWrites(), Gateway: n.gatewayView.Load().Stats, Certificates: n.gatewayView.Load().Expiries,
		Pending: int(n.pending.Load()), Unserved: int(n.down.Load()), Secrets: n.secretStats(),
	}
}
