// Package controller is the node's side of the stream to the controller: a hello, then updates in and messages out. What arrives
// waits in the inbox, and what is to be sent in the outbox; neither waits for the other side.
package controller

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
)

// reconnect is the wait between two streams to the controller.
var reconnect = backoff.Doubling{First: 100 * time.Millisecond, Longest: 800 * time.Millisecond, More: 0.25}

// refusals are the codes by which a controller refuses a node: by its token, its certificate or its hello.
var refusals = []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument}

// alive has pings find out within 15 s that a connection is cut off, though it is open here. The controller does the same.
var alive = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}

const askAgain = 30 * time.Second // after a controller without a method, or without what it needs

// Client keeps a stream to the controller.
type Client struct {
	Address      string // "unix:PATH" or "host:port"; empty: there is no controller
	Credentials  Credentials
	KeepsGateway bool // leave the Gateways of updates out
	Hello        func() *nodev1.Hello
	FirstReport  func() *nodev1.Report                                 // what the hello lacks, for the beginning of a stream; nil: nothing
	Observe      func(context.Context, nodev1.NodeServiceClient) error // sends exchanges to the controller until ctx or the stream ends; nil: none are sent
	Drain        func(*nodev1.Drain)                                   // whether the node is to take new connections; must not block. nil: the node cannot be drained
	Consumers    func(*nodev1.ConsumerChange)                          // takes consumers at once, whatever is being applied; nil: the node takes none
	CopyStates   func(context.Context, nodev1.NodeServiceClient) error // keeps the controller's signed state until ctx or the stream ends; nil: it is not kept
	Inbox        *Inbox
	Outbox       *Outbox
	Log          *slog.Logger

	connected atomic.Bool
	refusal   atomic.Pointer[string]
	end       atomic.Pointer[context.CancelFunc] // of the present stream
}

// Restart ends the present stream, if there is one: the next one begins with a new hello. It may be called from any goroutine.
func (c *Client) Restart() {
	if end := c.end.Load(); end != nil {
		(*end)()
	}
}

// Connected reports whether the controller has sent something on the present stream. It may be called from any goroutine.
func (c *Client) Connected() bool { return c.connected.Load() }

// Refusal returns why the controller and this node do not accept each other, as of the last try; "": they do, or there was no
// answer yet. It may be called from any goroutine.
func (c *Client) Refusal() string {
	if refusal := c.refusal.Load(); refusal != nil {
		return *refusal
	}
	return ""
}

// Run keeps a stream open until ctx ends.
func (c *Client) Run(ctx context.Context) {
	if c.Address == "" {
		c.Log.Info("no --controller: the node serves its last good state only")
		return
	}
	refused := &changes{say: func(err error) {
		c.Log.Error("the controller and this node do not accept each other; trying again", "controller", c.Address, "error", err.Error())
	}}
	refuse := func(err error) {
		refusal := err.Error()
		c.refusal.Store(&refusal)
		refused.note(err)
	}
	connection, err := c.dial(func(err error) {
		if isRefusal(err) {
			refuse(err)
		} else {
			refused.note(err)
		}
	})
	if err != nil {
		c.Log.Error("expected a controller address like unix:PATH or host:port", "got", c.Address, "error", err.Error())
		return
	}
	defer func() { _ = connection.Close() }()
	c.Log.Info("connecting to the controller", "controller", c.Address)
	var others sync.WaitGroup
	for _, stream := range []otherStream{c.Observe, c.CopyStates} {
		others.Go(func() { stream.keep(ctx, nodev1.NewNodeServiceClient(connection)) })
	}
	defer others.Wait()
	for failures := 0; ctx.Err() == nil; failures++ {
		answered, err := c.syncStream(ctx, nodev1.NewNodeServiceClient(connection))
		if ctx.Err() != nil {
			return
		}
		if answered {
			failures = 0
			refused.forget()
			c.Log.Warn("connection to the controller lost", "error", status.Convert(err).Message())
		} else if slices.Contains(refusals, status.Code(err)) {
			refuse(errors.New(status.Convert(err).Message()))
		}
		backoff.Sleep(ctx, reconnect.Wait(failures))
	}
}

// otherStream is a stream beside that of updates, until ctx or the stream ends; nil: none.
type otherStream func(context.Context, nodev1.NodeServiceClient) error

// keep keeps the stream open until ctx ends. A controller without its method, or without what it needs, is asked again now and
// then: it may be replaced by a newer release, or configured.
func (s otherStream) keep(ctx context.Context, client nodev1.NodeServiceClient) {
	if s == nil {
		return
	}
	for ctx.Err() == nil {
		pause := reconnect.Longest
		err := s(ctx, client)
		if code := status.Code(err); code == codes.Unimplemented || code == codes.FailedPrecondition {
			pause = askAgain
		}
		backoff.Sleep(ctx, reconnect.Jitter(pause))
	}
}

func (c *Client) dial(failed func(error)) (*grpc.ClientConn, error) {
	options, err := c.Credentials.options(failed)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(c.Address, append(options,
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.WaitForReady(true)),
		grpc.WithKeepaliveParams(alive),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: reconnect.First, Multiplier: 2, Jitter: 0.2, MaxDelay: reconnect.Longest},
			MinConnectTimeout: time.Second,
		}))...)
}

// syncStream runs one stream: hello, then updates in and reports out. answered reports whether the controller sent anything.
func (c *Client) syncStream(ctx context.Context, client nodev1.NodeServiceClient) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.end.Store(&cancel)
	stream, err := client.Sync(ctx)
	if err != nil {
		return false, err
	}
	c.Inbox.Drain()  // the hello does not contain these updates: the controller sends them again, or newer ones
	c.Outbox.Drain() // the hello contains these reports, except
	if report := c.FirstReport(); report != nil {
		c.Outbox.AddReport(report)
	}
	if err := stream.Send(&nodev1.NodeMessage{Message: &nodev1.NodeMessage_Hello{Hello: c.Hello()}}); err != nil {
		return false, endError(err, stream)
	}
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		c.sendOutbox(ctx, stream)
	}()
	defer func() {
		cancel()
		<-sender
		c.connected.Store(false)
	}()
	for {
		message, err := stream.Recv()
		if err != nil {
			return answered, err
		}
		if !answered {
			answered = true
			c.connected.Store(true)
			c.refusal.Store(nil)
			c.Log.Info("connected to the controller")
		}
		c.receive(message)
	}
}

func (c *Client) receive(message *nodev1.ControllerMessage) {
	if update := message.GetUpdate(); update != nil {
		if c.KeepsGateway {
			update.Gateway = nil // sent by a controller that does not know this mode
		}
		c.Inbox.Add(update)
		return
	}
	if drain := message.GetDrain(); drain != nil && c.Drain != nil {
		c.Log.Info("the controller asks the node to drain, or to serve again", "drained", drain.GetDrained(), "acceptSeconds", drain.GetAcceptSeconds())
		c.Drain(drain)
		return
	}
	if change := message.GetConsumers(); change != nil && c.Consumers != nil {
		c.Consumers(change)
		return
	}
	c.Log.Warn("expected an update from the controller, got a message of an unknown kind")
}

// sendOutbox sends the messages of the outbox.
func (c *Client) sendOutbox(ctx context.Context, stream nodev1.NodeService_SyncClient) {
	for {
		for _, message := range c.Outbox.Drain() {
			if err := stream.Send(message); err != nil {
				return // Recv returns the reason
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-c.Outbox.filled:
		}
	}
}

// endError returns why a stream has ended that could not be sent on: an EOF of sending says that the stream has the reason.
func endError(err error, stream nodev1.NodeService_SyncClient) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return errors.New("the controller ended the stream")
	}
	return err
}
