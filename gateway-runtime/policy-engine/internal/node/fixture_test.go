package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/bundletest"
	"gatewright.dev/sdk/policy/v1alpha"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// tag is a policy of the tests: it counts its instances.
type tag struct{ shelf *shelf }

func (tag) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return nil, nil
}
func (tag) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}
func (t tag) Close() error { t.shelf.add(-1); return nil }
func (t tag) Standing() error {
	t.shelf.mutex.Lock()
	defer t.shelf.mutex.Unlock()
	return t.shelf.lost
}

// shelf is the policies of a test's node.
type shelf struct {
	mutex       sync.Mutex
	open, built int
	fail        error
	lost        error         // the error of its instances' Standing
	slow        chan struct{} // an instance with {"slow":true} is built once it is closed
}

func (s *shelf) add(n int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.open += n
	s.built += max(n, 0)
}

func (s *shelf) counts() (open, built int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.open, s.built
}

func (s *shelf) losing(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.lost = err
}

func (s *shelf) failing(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.fail = err
}

var headersOnly = v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess}

func (s *shelf) policies() []Policy {
	return []Policy{{Name: "tag", Version: "v1.0.0", DefinitionDigest: "digest", Mode: headersOnly,
		Factory: func(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
			s.mutex.Lock()
			fail := s.fail
			s.mutex.Unlock()
			switch {
			case string(params) == `{"slow":true}`:
				<-s.slow
			case string(params) == `{"panic":true}`:
				panic("oh")
			case string(params) == `{"bad":true}`:
				return nil, errors.New("bad is not a parameter")
			case fail != nil:
				return nil, fail
			}
			s.add(1)
			return tag{s}, nil
		}}}
}

func attachment(instance, params string) *nodev1.Attachment {
	return &nodev1.Attachment{Instance: instance, PolicyName: "tag", PolicyVersion: "v1.0.0", DefinitionDigest: "digest",
		Parameters: []byte(params), ProcessingMode: &nodev1.ProcessingMode{RequestHeaders: nodev1.HeaderMode_HEADER_MODE_PROCESS}}
}

func chainID(text string) string { return (fmt.Sprintf("%x", text) + strings.Repeat("0", 32))[:32] }

// bundle is an API with one route, one chain of one instance, and one cluster, all named after api and digest.
func bundle(api, digest string) *nodev1.ApiBundle {
	return bundleWith(api, digest, attachment(api+digest, "{}"))
}

func bundleWith(api, digest string, attachments ...*nodev1.Attachment) *nodev1.ApiBundle {
	id := chainID(api + digest)
	cluster := api + "|" + digest
	route := &routev3.Route{Name: api + "|GET /" + digest + "|" + id,
		Match:                &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action:               &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
		TypedPerFilterConfig: map[string]*anypb.Any{"envoy.filters.http.ext_proc": sendsRequestHeaders()}}
	return &nodev1.ApiBundle{Api: api, Digest: digest, Context: "/" + api, Version: "v1.0", FirstRoute: bundletest.FirstRoute(api),
		Routes:   [][]byte{wire(route)},
		Clusters: [][]byte{wire(&clusterv3.Cluster{Name: cluster})},
		Chains: []*nodev1.Chain{{Id: id, Operation: "GET /" + digest, Attachments: attachments,
			ProcessingMode: &nodev1.ProcessingMode{RequestHeaders: nodev1.HeaderMode_HEADER_MODE_PROCESS}}}}
}

// sendsRequestHeaders is the ext_proc configuration of a route whose chain wants nothing else.
func sendsRequestHeaders() *anypb.Any { return sendsHeaders(filterv3.ProcessingMode_SKIP) }

// sendsHeaders is that of a route whose chain wants the response's headers so.
func sendsHeaders(response filterv3.ProcessingMode_HeaderSendMode) *anypb.Any {
	modes := &filterv3.ProcessingMode{RequestHeaderMode: filterv3.ProcessingMode_SEND, ResponseHeaderMode: response}
	overrides := &filterv3.ExtProcOverrides{ProcessingMode: modes}
	packed, err := anypb.New(&filterv3.ExtProcPerRoute{Override: &filterv3.ExtProcPerRoute_Overrides{Overrides: overrides}})
	if err != nil {
		panic(err)
	}
	return packed
}

func wire(message proto.Message) []byte {
	text, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	return text
}

// scriptedEnvoy acknowledges all updates that it does not refuse, and keeps a transcript.
type scriptedEnvoy struct {
	mutex      sync.Mutex
	present    bool
	bad, held  map[string]bool // routes and listeners that it refuses, and "secrets"; clusters and listeners that it does not answer to
	clusters   []string
	routes     []string
	listeners  []string
	secrets    []string
	secretsNow xds.Resources
	unserved   []string // APIs that it answers for with 503
	config     string   // the routes that it has acknowledged
	routed     string   // their content
	transcript []string
	connected  chan struct{}
}

func newScriptedEnvoy(present bool) *scriptedEnvoy {
	return &scriptedEnvoy{present: present, bad: map[string]bool{}, held: map[string]bool{}, connected: make(chan struct{}, 1)}
}

func (e *scriptedEnvoy) SetClusters(ctx context.Context, clusters xds.Resources) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.clusters = nil
	held := false
	for name := range clusters {
		e.clusters = append(e.clusters, name)
		held = held || e.held[name]
	}
	slices.Sort(e.clusters)
	return e.record("clusters "+strings.Join(e.clusters, " "), held, false)
}

func (e *scriptedEnvoy) SetRoutes(_ context.Context, config xds.Resource) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if config.Version == e.config {
		return nil // nothing to send
	}
	e.routes, e.unserved = routesIn(config), unservedIn(config)
	refused := slices.ContainsFunc(e.routes, func(name string) bool { return e.bad[name] })
	err := e.record("routes "+strings.Join(e.routes, " "), false, refused)
	if e.config = ""; err == nil {
		e.config, e.routed = config.Version, string(config.Text())
	}
	return err
}

func (e *scriptedEnvoy) SetSecrets(_ context.Context, secrets xds.Resources) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	names := slices.Sorted(maps.Keys(secrets))
	if slices.Equal(names, e.secrets) && len(names) == 0 {
		return e.answer()
	}
	e.secrets, e.secretsNow = names, secrets
	return e.record("secrets "+strings.Join(names, " "), false, e.bad["secrets"])
}

func (e *scriptedEnvoy) SetListeners(_ context.Context, listeners xds.Resources) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.listeners = slices.Sorted(maps.Keys(listeners))
	refused := slices.ContainsFunc(e.listeners, func(name string) bool { return e.bad[name] })
	held := slices.ContainsFunc(e.listeners, func(name string) bool { return e.held[name] })
	return e.record("listeners "+strings.Join(e.listeners, " "), held, refused)
}

func (e *scriptedEnvoy) answer() error {
	if e.present {
		return nil
	}
	return xds.ErrNoEnvoy
}

func (e *scriptedEnvoy) record(event string, held, refused bool) error {
	switch {
	case !e.present:
		e.transcript = append(e.transcript, event+": no answer")
		return xds.ErrNoEnvoy
	case held:
		e.transcript = append(e.transcript, event+": silence")
		return fmt.Errorf("%w: scripted", xds.ErrNoAnswer)
	case refused:
		e.transcript = append(e.transcript, event+": no")
		return &xds.RefusedError{TypeURL: xds.RouteType, Reason: "a bad route"}
	}
	e.transcript = append(e.transcript, event+": yes")
	return nil
}

func (e *scriptedEnvoy) Connected() <-chan struct{} { return e.connected }

func (e *scriptedEnvoy) connect() {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.present = true
	e.connected <- struct{}{}
}

func (e *scriptedEnvoy) drainTranscript() []string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	transcript := e.transcript
	e.transcript = nil
	return transcript
}

func (e *scriptedEnvoy) serves() (clusters, routes []string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.clusters, e.routes
}

// routesIn returns API|DIGEST of each route of a configuration, sorted.
func routesIn(config xds.Resource) []string {
	var routes []string
	text := string(config.Text())
	for at := strings.Index(text, "|GET /"); at >= 0; at = strings.Index(text, "|GET /") {
		from := strings.LastIndexFunc(text[:at], func(r rune) bool { return r < 'a' || r > 'z' })
		digest, _, _ := strings.Cut(text[at+len("|GET /"):], "|")
		routes = append(routes, text[from+1:at]+"|"+digest)
		text = text[at+1:]
	}
	slices.Sort(routes)
	return slices.Compact(routes)
}

// unservedIn returns the APIs that a configuration answers for with 503, sorted.
func unservedIn(config xds.Resource) []string {
	var apis []string
	for text := string(config.Text()); ; {
		before, after, more := strings.Cut(text, "|503|")
		if !more {
			break
		}
		from := strings.LastIndexFunc(before, func(r rune) bool { return (r < 'a' || r > 'z') && r != '-' })
		apis = append(apis, before[from+1:])
		text = after
	}
	slices.Sort(apis)
	return slices.Compact(apis)
}

func (e *scriptedEnvoy) answersFor() []string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.unserved
}

type bench struct {
	t     *testing.T
	node  *Node
	envoy *scriptedEnvoy
	shelf *shelf
	table *chain.Table

	resolver Resolver // nil: none
	observer Observer // nil: none

	gatewayFile *nodev1.Gateway // nil: there is none
	fileNow     func() string   // its digest now; nil: it does not change
	keeps       bool            // the node keeps it, whatever the controller sends

	controller string       // its address, which nothing connects to before the node runs; "": there is none
	log        *slog.Logger // nil: discarded

	consumers Consumers // nil: it takes none

	labels   map[string]string
	states   StateSources // to start from; none: none
	secrets  string       // folder of them; "": there is none
	policies []Policy     // nil: the shelf's
}

const grace = 30 * time.Second // the default

func newBench(t *testing.T, envoy *scriptedEnvoy, directory string) *bench {
	t.Helper()
	return newBenchWith(t, &bench{t: t, envoy: envoy, shelf: &shelf{}}, directory)
}

func newBenchWith(t *testing.T, b *bench, directory string) *bench {
	t.Helper()
	b.table = &chain.Table{}
	if b.policies == nil {
		b.policies = b.shelf.policies()
	}
	log := quiet
	if b.log != nil {
		log = b.log
	}
	node, err := New(Options{Controller: b.controller, Secrets: b.secrets, Values: &redaction.Values{}, NodeID: "n", Labels: b.labels, Gateway: b.gatewayFile, GatewayDigest: b.fileNow, KeepsGateway: b.keeps, StateDir: directory, States: b.states, Policies: b.policies, Table: b.table, Envoy: b.envoy, Resolver: b.resolver, Observer: b.observer, Consumers: b.consumers, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	b.node = node
	node.Restore(t.Context())
	return b
}

// run runs the node until the test ends.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.node.Run(ctx); close(done) }()
	b.t.Cleanup(func() {
		cancel()
		<-done
		b.node.Close()
	})
}

func (b *bench) apply(revision uint64, bundles []*nodev1.ApiBundle, removed ...string) []string {
	b.t.Helper()
	b.node.apply(b.t.Context(), controller.Pack(&nodev1.Update{Revision: revision, Bundles: bundles, RemovedApis: removed}), time.Second)
	return b.reported()
}

func (b *bench) reported() []string {
	var lines []string
	for _, message := range b.node.outbox.Drain() {
		report := message.GetReport()
		for _, status := range report.GetApis() {
			state, _ := strings.CutPrefix(status.GetState().String(), "STATE_")
			lines = append(lines, fmt.Sprintf("%d %s %s %s", report.GetRevision(), status.GetApi(), status.GetDigest(), state))
		}
	}
	slices.Sort(lines)
	return lines
}

func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	await.Until(b.t, what, holds)
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n expected %q\n got      %q", what, want, got)
	}
}
