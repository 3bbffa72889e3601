// Package node is the desired state of one node: it takes API bundles from the controller, turns them into chains and
// Envoy's configuration, make before break, and says of each whether it is served.
//
// What decides is pure and stands apart: planOf and merge (plan.go), bisect (bisect.go), policies.find (policy.go). One
// goroutine, Run's, owns all state; the stream to the controller (client.go) only fills the inbox and drains the outbox.
package node

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/certificates"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// Envoy is what a node asks of its Envoy; *xds.Server is it.
type Envoy interface {
	SetClusters(ctx context.Context, clusters xds.Resources) error
	SetRoutes(ctx context.Context, config xds.Resource) error
	SetSecrets(ctx context.Context, secrets xds.Resources) error
	SetListeners(ctx context.Context, listeners xds.Resources) error
	Connected() <-chan struct{}
}

// Observer is told what the node's chains do, and which APIs go.
type Observer interface {
	chain.Observer
	// APIRemoved is told that an API was removed. Its chains stay until the exchanges in them have ended.
	APIRemoved(name string)
}

// Resolver finds the addresses of a host; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Options are what a node is made of.
type Options struct {
	NodeID        string
	EngineVersion string
	Controller    string // "unix:PATH" or "host:port"; empty: the node lives by its last good state alone
	StateDir      string
	Gateway       *nodev1.Gateway                                       // to begin with, of a file; nil: the node listens nowhere until it is given one
	GatewayDigest func() string                                         // of that file as it is now; nil: it does not change
	KeepsGateway  bool                                                  // the file's is served whatever the controller says
	Telemetry     func(*nodev1.Telemetry)                               // told that of each Gateway that is served, nil for one without; must not wait. nil: nobody is
	AdminAddress  func() string                                         // where the node answers /metrics once Telemetry has returned; "": nowhere. nil: nowhere
	Store         func(*nodev1.Store)                                   // as Telemetry, of where policies keep state
	Observe       func(context.Context, nodev1.NodeServiceClient) error // tells the controller of exchanges until ctx or the stream ends; nil: nobody does
	Policies      []Policy
	Secrets       string            // folder of the files of secrets; "": there is none
	Values        *redaction.Values // has the secrets of all instances that there are; nil: nobody asks
	Table         *chain.Table
	Bodies        *chain.Budget  // for the bodies that chains hold; nil: without a limit
	Shadows       *chain.Shadows // for what shadow attachments take; nil: what one chain's may
	RequestLimit  time.Duration  // of chains: for bodies that policies want whole; 0: any time
	Observer      Observer       // of the chains' executions; nil: there is none
	Envoy         Envoy
	Resolver      Resolver // asked for the names of upstreams, before Envoy has to wait for them; nil: they are not looked up
	Timing        Timing
	Log           *slog.Logger
}

// Timing are a node's waits. A zero field means its default.
type Timing struct {
	Acknowledge time.Duration // for Envoy's acknowledgement of an update; 10 s
	Probe       time.Duration // for that of each further try, once Envoy has left one unanswered; 3 s
	PerBundle   time.Duration // on top of both, for each bundle that is served; 1 ms
	Search      time.Duration // for all tries of one update together; 60 s
	Grace       time.Duration // from a chain's last exchange to its end; 30 s
	Held        time.Duration // how long an exchange may stay in a chain that an update leaves as it is; 60 s
	Gather      time.Duration // for one more API to be built, before those that are go on without the others; 1 s
	Retry       time.Duration // until what failed for a reason that may pass is tried again; 1 s, and twice as long each time
	RetryMost   time.Duration // the longest of these; 30 s
	Resolve     time.Duration // for the names of an API's upstreams; 5 s
	LastGood    time.Duration // for the last good version to be built, before what follows it is tried all the same; 60 s
	Examine     time.Duration // between two looks at whether the policies of what runs are ready; 1 s
	Replace     time.Duration // for the controller to send what takes the place of an API of the last good state that did not come up; 10 s
	Watch       time.Duration // between two looks at the files of certificates and secrets; 1 s
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

// Node is one node's desired state at work. New → Restore → Run → Close.
type Node struct {
	options  Options
	timing   Timing
	log      *slog.Logger
	store    *store
	chains   *chains
	policies atomic.Pointer[policies]
	running  running
	unserved map[string]*nodev1.ApiBundle // last good versions that did not come up: they stay on disk, and are tried again
	retired  []*retired                   // versions that exchanges may still be in
	queue    map[string]*queuedAPI        // the newest bundles of APIs that do not run, or not yet
	arrived  []*build                     // done, and not yet taken in
	routed   []*xds.Bundle                // of which Envoy's routes were last composed; nil: it has not taken them
	front    xds.Front                    // what those routes have of the Gateway
	notReady map[string]*nodev1.ApiStatus // APIs that run and have a policy that is not ready any more

	unrestored   unrestored
	listening    listening
	certificates *certificates.Watcher // of the files of the Gateway
	secrets      *secrets.Store
	rotations    map[rotated]*rotation // of what uses secrets that have changed, or may have

	built          chan *build
	rotated        chan rotationBuild
	renewed        chan struct{}
	departures     chan departure
	lifetime       context.Context // done once the node is closed
	cancel         context.CancelFunc
	inbox          inbox
	outbox         outbox
	known          atomic.Pointer[[]*nodev1.BundleRef]  // for the next hello
	gatewayDigest  atomic.Pointer[string]               // for the next hello: of the Gateway that is served
	adminAddress   atomic.Pointer[string]               // for the next hello; nil: nowhere
	gatewayStatus  atomic.Pointer[nodev1.GatewayStatus] // the newest, for Stats; nil: nothing has been said of any
	served         atomic.Int64                         // APIs, for Stats
	pending        atomic.Int64                         // as these are
	down           atomic.Int64
	unrotated      atomic.Int64                                     // APIs that cannot use a secret that has changed, for Stats
	expiries       atomic.Pointer[map[string]certificates.Warnings] // of certificates, for Stats
	troubles       atomic.Pointer[listeningTroubles]                // of the current Gateway, for Stats
	notReadyReport atomic.Pointer[nodev1.Report]                    // of notReady; nil: nothing is wrong
	clustersInUse  atomic.Pointer[[]*xds.Bundle]                    // for Clusters
	routesInUse    atomic.Pointer[routesInUse]                      // for Near
	obstacles      atomic.Pointer[map[string]Obstacle]              // of APIs that are queued
	stats          counters
}

// New makes a node and its state directory. Nothing runs yet.
func New(options Options) (*Node, error) {
	store, err := openStore(options.StateDir)
	if err != nil {
		return nil, err
	}
	n := &Node{
		options: options, timing: options.Timing.withDefaults(), log: options.Log, store: store,
		running: running{}, unserved: map[string]*nodev1.ApiBundle{}, queue: map[string]*queuedAPI{},
		rotations: map[rotated]*rotation{}, rotated: make(chan rotationBuild),
		built: make(chan *build), renewed: make(chan struct{}, 1), departures: make(chan departure),
		inbox: inbox{arrived: make(chan struct{}, 1)}, outbox: outbox{filled: make(chan struct{}, 1)},
	}
	n.lifetime, n.cancel = context.WithCancel(context.Background())
	n.policies.Store(policiesOf(options.Policies))
	n.certificates = certificates.NewWatcher(n.timing.Watch, options.Log)
	n.secrets = secrets.NewStore(options.Secrets, n.timing.Watch, options.Log)
	n.chains = newChains(options, &n.policies, newBinder(&n.policies, n.secrets), n.timing.Grace, n.depart)
	n.publish()
	return n, nil
}

// SetPolicies makes these the policies that the node can run, and tells the controller. Instances that live go on, but for
// those of policies that have moved, which are built again; what was rejected is tried again.
func (n *Node) SetPolicies(policies []Policy) {
	n.policies.Store(policiesOf(policies))
	select {
	case n.renewed <- struct{}{}:
	default:
	}
	n.outbox.add(&nodev1.NodeMessage{Message: &nodev1.NodeMessage_Hello{Hello: n.hello()}})
}

func (n *Node) depart(gone departure) {
	select {
	case n.departures <- gone:
	case <-n.lifetime.Done():
	}
}

// Run applies updates until ctx ends. It needs Restore to have returned.
func (n *Node) Run(ctx context.Context) {
	client := make(chan struct{})
	go func() {
		defer close(client)
		n.runClient(ctx)
	}()
	defer func() { <-client }()
	retry, sweep := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer retry.Stop()
	readinessTicker := time.NewTicker(n.timing.Examine)
	defer readinessTicker.Stop()
	defer sweep.Stop()
	for ctx.Err() == nil {
		sweep.Reset(n.sweepRetired(ctx))
		retry.Reset(n.nextRetry(time.Now()))
		select {
		case <-ctx.Done():
		case <-n.inbox.arrived:
			if update := n.inbox.drain(); update != nil {
				n.apply(ctx, update, n.timing.Acknowledge)
			}
		case <-n.options.Envoy.Connected():
			n.confirm(ctx)
			n.confirmGateway(ctx)
			n.setFallbackRoutes(ctx)
		case files := <-n.certificates.Changes():
			n.replaceCertificates(ctx, files)
		case <-n.secrets.Changes():
			n.secretsChanged(time.Now())
		case done := <-n.rotated:
			n.finishRotation(done, time.Now())
		case gone := <-n.departures:
			n.chains.departed(gone)
		case <-sweep.C:
		case b := <-n.built:
			n.advanceBuilt(ctx, b)
		case <-n.renewed:
			n.retryAll()
			n.policiesMoved(time.Now())
		case <-retry.C:
			n.retryGateway(ctx)
			n.setFallbackRoutes(ctx)
			n.retryDue(ctx)
		case <-readinessTicker.C:
			n.checkReadiness()
			n.expireLastGoodWaits(time.Now())
			n.expireUnrestored(time.Now())
			n.keepSecrets()
			n.rotate(time.Now())
		}
	}
}

// Close closes all policy instances. Run has returned, and no exchange is under way.
func (n *Node) Close() {
	n.cancel()
	n.certificates.Close()
	n.secrets.Close()
	n.chains.builds.Wait()
	for _, b := range n.arrived {
		n.chains.discard(b)
	}
	n.chains.closeAll()
}

// publish says what is there, for the next hello and for Stats.
func (n *Node) publish() {
	refs := map[string]*nodev1.BundleRef{}
	for api := range n.unserved {
		refs[api] = &nodev1.BundleRef{Api: api, Unsettled: true}
	}
	obstacles := map[string]Obstacle{}
	for api, q := range n.queue {
		refs[api] = &nodev1.BundleRef{Api: api, Unsettled: true}
		obstacles[api] = q.obstacle()
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
	known := make([]*nodev1.BundleRef, 0, len(refs))
	for _, api := range slices.Sorted(maps.Keys(refs)) {
		known = append(known, refs[api])
	}
	n.known.Store(&known)
	digest := ""
	if good := n.listening.current.lastGood(); good != nil {
		digest = good.message.GetDigest()
	}
	n.gatewayDigest.Store(&digest)
	n.publishClusters()
	n.served.Store(int64(served))
	n.pending.Store(int64(len(n.queue)))
	n.down.Store(int64(len(n.unserved)))
	n.publishCertificates()
}

type counters struct {
	updates, applied, rejected, stateErrors atomic.Uint64
	revision                                atomic.Uint64
	connected                               atomic.Bool
}

// Stats are a node's counters for the admin endpoint.
type Stats struct {
	ControllerConnected bool   `json:"controllerConnected"`
	Revision            uint64 `json:"revision"` // of the last update that was applied
	APIs                int    `json:"apis"`     // served, acknowledged by Envoy
	Pending             int    `json:"pending"`  // of which a version waits to be tried, or tried again
	Unserved            int    `json:"unserved"` // of which not even the last good version could be brought up
	Updates             uint64 `json:"updates"`
	Applied             uint64 `json:"applied"`
	Rejected            uint64 `json:"rejected"`
	StateErrors         uint64 `json:"stateErrors"` // writes to the state directory that failed

	Gateway      GatewayStats                     `json:"gateway"`
	Certificates map[string]certificates.Warnings `json:"certificates"` // of the Gateway, those that could be read: when they end
	Secrets      SecretStats                      `json:"secrets"`
}

// SecretStats are how many secrets APIs name, and what of them cannot be used; what was built with them before goes on.
type SecretStats struct {
	InUse        int `json:"inUse"`
	FailingFiles int `json:"failingFiles"` // secrets whose file is not there, or cannot be read
	FailingAPIs  int `json:"failingApis"`  // APIs of which a policy does not take a secret that has changed
}

// GatewayStats are what the node makes of its Gateway.
type GatewayStats struct {
	Digest string `json:"digest"` // of the one that is served; "": none is
	State  string `json:"state"`  // applied, rejected or pending: what became of the newest one; "": nothing was said of any yet
	Reason string `json:"reason"` // for rejected and pending

	Closed       []string      `json:"closed,omitempty"`       // listeners that need a certificate or an authority whose files cannot be used
	FailingFiles []FailingFile `json:"failingFiles,omitempty"` // certificates and authorities whose files cannot be used now
}

// FailingFile is a certificate or an authority whose files cannot be used: what they held before, if anything, is served.
type FailingFile struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Stats returns the counters as they are now.
func (n *Node) Stats() Stats {
	return Stats{
		ControllerConnected: n.stats.connected.Load(), Revision: n.stats.revision.Load(), APIs: int(n.served.Load()),
		Updates: n.stats.updates.Load(), Applied: n.stats.applied.Load(), Rejected: n.stats.rejected.Load(),
		StateErrors: n.stats.stateErrors.Load(), Gateway: n.gatewayStats(), Certificates: *n.expiries.Load(),
		Pending: int(n.pending.Load()), Unserved: int(n.down.Load()), Secrets: n.secretStats(),
	}
}
