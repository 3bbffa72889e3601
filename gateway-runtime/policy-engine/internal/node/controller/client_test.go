package controller_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a client of the controller at path until the test ends.
func run(t *testing.T, path string, edit func(*controller.Client)) *controller.Client {
	t.Helper()
	client := &controller.Client{Address: "unix:" + path, Inbox: controller.NewInbox(), Outbox: controller.NewOutbox(),
		Hello:       func() *nodev1.Hello { return &nodev1.Hello{NodeId: "n"} },
		FirstReport: func() *nodev1.Report { return nil },
		Log:         slog.New(slog.NewTextHandler(io.Discard, nil))}
	edit(client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return client
}

func removal(revision uint64, api string) *nodev1.Update {
	return &nodev1.Update{Revision: revision, RemovedApis: []string{api}}
}

func TestAnUnappliedUpdateIsDroppedWithItsStream(t *testing.T) {
	path := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, path)
	client := run(t, path, func(client *controller.Client) {
		client.Inbox.Add(removal(1, "gone")) // of an earlier stream
		client.Outbox.AddReport(&nodev1.Report{Revision: 1})
	})
	stream := c.Accept(t)
	stream.ReceiveHello()
	if update := client.Inbox.Drain(); update != nil {
		t.Errorf("expected nothing to be applied, got %v", update)
	}
	client.Outbox.AddReport(&nodev1.Report{Revision: 2})
	stream.ReceiveReport(2)
}

func TestEachStreamBeginsWithAHelloAndTheReportThatItLacks(t *testing.T) {
	path := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, path)
	client := run(t, path, func(client *controller.Client) {
		client.FirstReport = func() *nodev1.Report {
			return &nodev1.Report{Revision: 7, Apis: []*nodev1.ApiStatus{{Api: "a", Digest: "1", State: nodev1.ApiStatus_STATE_PENDING}}}
		}
	})
	for range 2 {
		stream := c.Accept(t)
		stream.ReceiveHello()
		stream.ReceiveReport(7, "a 1 STATE_PENDING")
		if client.Connected() {
			t.Error("expected the client not to be connected before the controller has sent anything")
		}
		stream.Send(removal(8, "a"))
		await.Receive(t, client.Inbox.Arrived(), "an update")
		if !client.Connected() {
			t.Error("expected the client to be connected")
		}
		stream.End()
		await.Until(t, "the client notices the end", func() bool { return !client.Connected() })
	}
}

func TestARefusalIsOverOnceTheControllerAnswers(t *testing.T) {
	path := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, path)
	client := run(t, path, func(*controller.Client) {})
	stream := c.Accept(t)
	stream.ReceiveHello()
	stream.Refuse(codes.PermissionDenied, "expected the labels zone=eu")
	await.Until(t, "the refusal is known", func() bool { return client.Refusal() == "expected the labels zone=eu" })
	stream = c.Accept(t)
	stream.ReceiveHello()
	stream.Send(removal(1, "a"))
	await.Until(t, "the refusal is over", func() bool { return client.Refusal() == "" })
}

func TestANodeThatKeepsItsGatewayGetsNone(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		path := controllertest.SocketPath(t)
		c, _ := controllertest.Start(t, path)
		client := run(t, path, func(client *controller.Client) { client.KeepsGateway = keeps })
		stream := c.Accept(t)
		stream.ReceiveHello()
		stream.Send(&nodev1.Update{Revision: 1, Gateway: &nodev1.Gateway{Digest: "controllers"}})
		await.Receive(t, client.Inbox.Arrived(), "an update")
		if update := client.Inbox.Drain().Update; update.GetRevision() != 1 || (update.GetGateway() == nil) != keeps {
			t.Errorf("keeps its Gateway: %t, got %v", keeps, update)
		}
	}
}

func TestConsumersAreTakenAtOnceWhateverIsBeingApplied(t *testing.T) {
	path := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, path)
	taken := make(chan *nodev1.ConsumerChange, 1)
	client := run(t, path, func(client *controller.Client) {
		client.Consumers = func(change *nodev1.ConsumerChange) { taken <- change }
	})
	stream := c.Accept(t)
	stream.ReceiveHello()
	stream.Send(removal(1, "a")) // waits in the inbox, as behind an update that Envoy does not acknowledge
	stream.SendConsumers(&nodev1.ConsumerChange{Removed: []string{"acme"}})
	if change := await.Receive(t, taken, "consumers"); len(change.GetRemoved()) != 1 {
		t.Errorf("expected the change of the controller, got %v", change)
	}
	if update := client.Inbox.Drain().Update; update.GetRevision() != 1 {
		t.Errorf("expected the update to wait still, got %v", update)
	}
}
