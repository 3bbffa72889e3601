package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
)

// reconnect is the wait between two streams to the controller.
var reconnect = backoff.Doubling{First: 100 * time.Millisecond, Longest: 800 * time.Millisecond, More: 0.25}

const observeAgain = 30 * time.Second // after a controller without the Observe method

// runClient keeps a stream to the controller until ctx ends.
func (n *Node) runClient(ctx context.Context) {
	if n.options.Controller == "" {
		n.log.Info("no --controller: the node serves its last good state only")
		return
	}
	connection, err := dial(n.options.Controller)
	if err != nil {
		n.log.Error("expected a controller address like unix:PATH or host:port", "got", n.options.Controller, "error", err.Error())
		return
	}
	defer func() { _ = connection.Close() }()
	n.log.Info("connecting to the controller", "controller", n.options.Controller)
	observing := make(chan struct{})
	go func() {
		defer close(observing)
		n.runObserve(ctx, nodev1.NewNodeServiceClient(connection))
	}()
	defer func() { <-observing }()
	for failures := 0; ctx.Err() == nil; failures++ {
		answered, err := n.syncStream(ctx, nodev1.NewNodeServiceClient(connection))
		if ctx.Err() != nil {
			return
		}
		if answered {
			failures = 0
			n.log.Warn("connection to the controller lost", "error", status.Convert(err).Message())
		}
		backoff.Sleep(ctx, reconnect.Wait(failures))
	}
}

// runObserve keeps the stream open by which the controller requests exchanges, until ctx ends. A controller without this
// method is asked again now and then: it may be replaced by a newer release.
func (n *Node) runObserve(ctx context.Context, client nodev1.NodeServiceClient) {
	if n.options.Observe == nil {
		return
	}
	for ctx.Err() == nil {
		pause := reconnect.Longest
		err := n.options.Observe(ctx, client)
		if status.Code(err) == codes.Unimplemented {
			pause = observeAgain
		}
		backoff.Sleep(ctx, reconnect.Jitter(pause))
	}
}

func dial(target string) (*grpc.ClientConn, error) {
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: reconnect.First, Multiplier: 2, Jitter: 0.2, MaxDelay: reconnect.Longest},
			MinConnectTimeout: time.Second,
		}))
}

// syncStream runs one stream: hello, then updates in and reports out. answered reports whether the controller sent anything.
func (n *Node) syncStream(ctx context.Context, client nodev1.NodeServiceClient) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Sync(ctx)
	if err != nil {
		return false, err
	}
	n.inbox.drain()  // the hello does not contain these updates: the controller sends them again, or newer ones
	n.outbox.drain() // the hello contains these reports, except
	if report := n.notReadyReport.Load(); report != nil {
		n.outbox.add(&nodev1.NodeMessage{Message: &nodev1.NodeMessage_Report{Report: report}})
	}
	if err := stream.Send(&nodev1.NodeMessage{Message: &nodev1.NodeMessage_Hello{Hello: n.hello()}}); err != nil {
		return false, errors.Join(err, endError(stream))
	}
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		n.sendOutbox(ctx, stream)
	}()
	defer func() {
		cancel()
		<-sender
		n.stats.connected.Store(false)
	}()
	for {
		message, err := stream.Recv()
		if err != nil {
			return answered, err
		}
		if !answered {
			answered = true
			n.stats.connected.Store(true)
			n.log.Info("connected to the controller")
		}
		n.receive(message)
	}
}

func (n *Node) receive(message *nodev1.ControllerMessage) {
	if update := message.GetUpdate(); update != nil {
		if n.options.KeepsGateway {
			update.Gateway = nil // sent by a controller that does not know this mode
		}
		n.inbox.add(update)
		return
	}
	n.log.Warn("expected an update from the controller, got a message of an unknown kind")
}

func (n *Node) hello() *nodev1.Hello {
	hello := &nodev1.Hello{NodeId: n.options.NodeID, EngineVersion: n.options.EngineVersion, Bundles: *n.bundleRefs.Load(),
		GatewayDigest: *n.gatewayDigest.Load(), KeepsGateway: n.options.KeepsGateway}
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

// sendOutbox sends the messages of the outbox.
func (n *Node) sendOutbox(ctx context.Context, stream nodev1.NodeService_SyncClient) {
	for {
		for _, message := range n.outbox.drain() {
			if err := stream.Send(message); err != nil {
				return // Recv returns the reason
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.outbox.filled:
		}
	}
}

// endError returns the error of a stream that can no longer be sent on.
func endError(stream nodev1.NodeService_SyncClient) error {
	_, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the controller ended the stream")
	}
	return err
}
