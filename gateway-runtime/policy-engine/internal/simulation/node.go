package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/consumers"
	"gatewright.dev/policy-engine/internal/node/controller"
)

// line says what a node has after an update.
type line struct {
	Node     string  `json:"node"`
	At       float64 `json:"at"` // seconds since 1970
	Revision uint64  `json:"revision"`
	APIs     int     `json:"apis"`
	State    string  `json:"state"`   // names the APIs with their digests: equal for nodes that have the same
	Changed  int     `json:"changed"` // APIs and removals in the update
}

// node is what a node knows of itself: which APIs it was sent, and the Gateway.
type node struct {
	id, admin string
	policies  []*nodev1.PolicyRef
	inbox     *controller.Inbox
	outbox    *controller.Outbox
	print     func(line)

	mutex   sync.Mutex
	digests map[string]string // by API
	state   uint64            // XOR of the hashes of its APIs
	gateway string            // digest
}

func newNode(id, admin string, policies []*nodev1.PolicyRef, print func(line)) *node {
	return &node{id: id, admin: admin, policies: policies, print: print, inbox: controller.NewInbox(), outbox: controller.NewOutbox(), digests: map[string]string{}}
}

func (n *node) newClient(address string, credentials controller.Credentials, log *slog.Logger) *controller.Client {
	return &controller.Client{Address: address, Credentials: credentials, Hello: n.hello, Inbox: n.inbox, Outbox: n.outbox, Log: log,
		FirstReport: func() *nodev1.Report { return nil },
		Observe:     n.observe,
		Drain:       func(*nodev1.Drain) {},
		Consumers:   func(*nodev1.ConsumerChange) {}}
}

// run takes updates until ctx ends.
func (n *node) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.inbox.Arrived():
		}
		if packed := n.inbox.Drain(); packed != nil {
			n.apply(packed)
		}
	}
}

// apply reports an update as applied: what an engine does once its Envoy has acknowledged.
func (n *node) apply(packed *controller.PackedUpdate) {
	at := time.Now()
	report, line := n.take(packed)
	line.At = float64(at.UnixNano()) / 1e9
	n.print(line)
	if len(report.GetApis()) > 0 || report.GetGateway() != nil {
		n.outbox.AddReport(report)
	}
}

func (n *node) take(packed *controller.PackedUpdate) (*nodev1.Report, line) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	update := packed.Update
	report := &nodev1.Report{Revision: update.GetRevision()}
	for _, bundle := range packed.Bundles {
		n.set(bundle.API, bundle.Digest)
		report.Apis = append(report.Apis, &nodev1.ApiStatus{Api: bundle.API, Digest: bundle.Digest, State: nodev1.ApiStatus_STATE_APPLIED})
	}
	for _, api := range update.GetRemovedApis() {
		n.set(api, "")
		report.Apis = append(report.Apis, &nodev1.ApiStatus{Api: api, State: nodev1.ApiStatus_STATE_REMOVED})
	}
	if gateway := update.GetGateway(); gateway != nil {
		n.gateway = gateway.GetDigest()
		report.Gateway = &nodev1.GatewayStatus{Digest: n.gateway, State: nodev1.ApiStatus_STATE_APPLIED}
	}
	return report, line{Node: n.id, Revision: update.GetRevision(), APIs: len(n.digests), State: fmt.Sprintf("%016x", n.state),
		Changed: len(packed.Bundles) + len(update.GetRemovedApis())}
}

// set makes a digest that of the API; "": there is no such API. The caller holds the mutex.
func (n *node) set(api, digest string) {
	if before, known := n.digests[api]; known {
		n.state ^= hash(api, before)
		delete(n.digests, api)
	}
	if digest != "" {
		n.state ^= hash(api, digest)
		n.digests[api] = digest
	}
}

func hash(api, digest string) uint64 {
	sum := sha256.Sum256([]byte(api + "\n" + digest))
	return binary.BigEndian.Uint64(sum[:])
}

// hello has all that the hello of a node without consumers, labels and Secrets has.
func (n *node) hello() *nodev1.Hello {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	hello := &nodev1.Hello{NodeId: n.id, EngineVersion: "simulated", Policies: n.policies, GatewayDigest: n.gateway, AdminAddress: n.admin,
		Drain: nodev1.DrainState_DRAIN_STATE_SERVING, Consumers: &nodev1.ConsumerVersions{Shards: make([]byte, 8*consumers.Shards)}}
	for api, digest := range n.digests {
		hello.Bundles = append(hello.Bundles, &nodev1.BundleRef{Api: api, Digest: digest})
	}
	return hello
}

// observe keeps the stream for exchanges open, of which the node has none.
func (n *node) observe(ctx context.Context, client nodev1.NodeServiceClient) error {
	stream, err := client.Observe(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&nodev1.Observed{NodeId: n.id}); err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}
