// Package controllertest plays a controller for tests: it hands each stream of a node to the test.
package controllertest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
)

// Controller serves the streams of nodes.
type Controller struct {
	nodev1.UnimplementedNodeServiceServer
	streams chan *Stream
}

// Stream is a stream of a node.
type Stream struct {
	t      *testing.T
	stream nodev1.NodeService_SyncServer
	end    chan error
}

// Start serves at a unix socket until the test ends or the server is stopped.
func Start(t *testing.T, path string) (*Controller, *grpc.Server) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c, server := &Controller{streams: make(chan *Stream)}, grpc.NewServer()
	nodev1.RegisterNodeServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c, server
}

// SocketPath returns a path that is short enough for a socket: at most 107 bytes.
func SocketPath(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return filepath.Join(directory, "s")
}

// Sync serves one stream.
func (c *Controller) Sync(stream nodev1.NodeService_SyncServer) error {
	accepted := &Stream{stream: stream, end: make(chan error, 1)}
	select {
	case c.streams <- accepted:
	case <-stream.Context().Done():
		return nil
	}
	select {
	case err := <-accepted.end:
		return err
	case <-stream.Context().Done():
		return nil
	}
}

// Accept returns the node's next stream.
func (c *Controller) Accept(t *testing.T) *Stream {
	t.Helper()
	stream := await.Receive(t, c.streams, "a stream of the node")
	stream.t = t
	return stream
}

// End ends the stream.
func (s *Stream) End() { s.end <- nil }

// Refuse ends the stream with a status.
func (s *Stream) Refuse(code codes.Code, message string) { s.end <- status.Error(code, message) }

// Send sends an update.
func (s *Stream) Send(update *nodev1.Update) {
	s.t.Helper()
	s.send(&nodev1.ControllerMessage{Message: &nodev1.ControllerMessage_Update{Update: update}})
}

// SendDrain has the node take no new connections, or take them again.
func (s *Stream) SendDrain(drain *nodev1.Drain) {
	s.t.Helper()
	s.send(&nodev1.ControllerMessage{Message: &nodev1.ControllerMessage_Drain{Drain: drain}})
}

// SendConsumers sends consumers.
func (s *Stream) SendConsumers(change *nodev1.ConsumerChange) {
	s.t.Helper()
	s.send(&nodev1.ControllerMessage{Message: &nodev1.ControllerMessage_Consumers{Consumers: change}})
}

func (s *Stream) send(message *nodev1.ControllerMessage) {
	s.t.Helper()
	if err := s.stream.Send(message); err != nil {
		s.t.Fatal(err)
	}
}

// Receive returns the node's next message.
func (s *Stream) Receive() *nodev1.NodeMessage {
	s.t.Helper()
	type received struct {
		message *nodev1.NodeMessage
		err     error
	}
	done := make(chan received, 1)
	go func() { message, err := s.stream.Recv(); done <- received{message, err} }()
	next := await.Receive(s.t, done, "a message of the node")
	if next.err != nil {
		s.t.Fatal(next.err)
	}
	return next.message
}

// ReceiveHello returns the node's next message, which must be a hello with these bundles, as RefText writes them.
func (s *Stream) ReceiveHello(bundles ...string) *nodev1.Hello {
	s.t.Helper()
	hello := s.Receive().GetHello()
	var got []string
	for _, ref := range hello.GetBundles() {
		got = append(got, RefText(ref))
	}
	slices.Sort(got)
	if hello == nil || !slices.Equal(got, bundles) {
		s.t.Fatalf("expected a hello with bundles %q, got %v with %q", bundles, hello, got)
	}
	return hello
}

// RefText is API DIGEST, and a question mark where something else may come to run.
func RefText(ref *nodev1.BundleRef) string {
	if ref.GetUnsettled() {
		return ref.GetApi() + " " + ref.GetDigest() + "?"
	}
	return ref.GetApi() + " " + ref.GetDigest()
}

// ReceiveReport receives the node's next message, which must be a report of this revision with a line "API DIGEST STATE" for each API.
func (s *Stream) ReceiveReport(revision uint64, apis ...string) {
	s.t.Helper()
	report := s.Receive().GetReport()
	var got []string
	for _, status := range report.GetApis() {
		got = append(got, fmt.Sprintf("%s %s %s", status.GetApi(), status.GetDigest(), status.GetState()))
	}
	slices.Sort(got)
	if report.GetRevision() != revision || !slices.Equal(got, apis) {
		s.t.Fatalf("expected a report of revision %d with %q, got %d with %q", revision, apis, report.GetRevision(), got)
	}
}
