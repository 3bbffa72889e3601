package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
)

// controller plays a controller: it hands each stream to the test.
type controller struct {
	nodev1.UnimplementedNodeServiceServer
	streams chan *conversation
}

type conversation struct {
	t      *testing.T
	stream nodev1.NodeService_SyncServer
	end    chan struct{}
}

func (c *controller) Sync(stream nodev1.NodeService_SyncServer) error {
	talk := &conversation{stream: stream, end: make(chan struct{})}
	select {
	case c.streams <- talk:
	case <-stream.Context().Done():
		return nil
	}
	select {
	case <-talk.end:
	case <-stream.Context().Done():
	}
	return nil
}

func startController(t *testing.T, address string) (*controller, *grpc.Server) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", address)
	if err != nil {
		t.Fatal(err)
	}
	c, server := &controller{streams: make(chan *conversation)}, grpc.NewServer()
	nodev1.RegisterNodeServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c, server
}

func (c *controller) accept(t *testing.T) *conversation {
	t.Helper()
	talk := await.Receive(t, c.streams, "a stream of the node")
	talk.t = t
	return talk
}

func (c *conversation) hears() *nodev1.NodeMessage {
	c.t.Helper()
	type heard struct {
		message *nodev1.NodeMessage
		err     error
	}
	done := make(chan heard, 1)
	go func() { message, err := c.stream.Recv(); done <- heard{message, err} }()
	h := await.Receive(c.t, done, "a message of the node")
	if h.err != nil {
		c.t.Fatal(h.err)
	}
	return h.message
}

func (c *conversation) hearsHello(bundles ...string) *nodev1.Hello {
	c.t.Helper()
	hello := c.hears().GetHello()
	var got []string
	for _, ref := range hello.GetBundles() {
		got = append(got, refText(ref))
	}
	slices.Sort(got)
	if hello == nil || !slices.Equal(got, bundles) {
		c.t.Fatalf("expected a hello with bundles %q, got %v with %q", bundles, hello, got)
	}
	return hello
}

// refText is API DIGEST, and a question mark where something else may come to run.
func refText(ref *nodev1.BundleRef) string {
	if ref.GetUnsettled() {
		return ref.GetApi() + " " + ref.GetDigest() + "?"
	}
	return ref.GetApi() + " " + ref.GetDigest()
}

func (c *conversation) hearsReport(revision uint64, apis ...string) {
	c.t.Helper()
	report := c.hears().GetReport()
	var got []string
	for _, status := range report.GetApis() {
		got = append(got, fmt.Sprintf("%s %s %s", status.GetApi(), status.GetDigest(), status.GetState()))
	}
	slices.Sort(got)
	if report.GetRevision() != revision || !slices.Equal(got, apis) {
		c.t.Fatalf("expected a report of revision %d with %q, got %d with %q", revision, apis, report.GetRevision(), got)
	}
}

func (c *conversation) says(update *nodev1.Update) {
	c.t.Helper()
	if err := c.stream.Send(&nodev1.ControllerMessage{Message: &nodev1.ControllerMessage_Update{Update: update}}); err != nil {
		c.t.Fatal(err)
	}
}

func TestANodeConversesWithItsController(t *testing.T) {
	address := shortPath(t)
	c, server := startController(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.options.Controller = "unix:" + address
	b.envoy.bad["bad|1"] = true
	b.run()

	talk := c.accept(t)
	hello := talk.hearsHello()
	if hello.GetNodeId() != "n" || len(hello.GetPolicies()) != 1 || hello.GetPolicies()[0].GetDefinitionDigest() != "digest" {
		t.Errorf("expected node and policies in the hello, got %v", hello)
	}
	talk.says(&nodev1.Update{Revision: 1})
	talk.hearsReport(1)
	talk.says(&nodev1.Update{Revision: 2, Bundles: some(bundle("a", "1"), bundle("bad", "1"))})
	talk.hearsReport(2, "a 1 STATE_APPLIED", "bad 1 STATE_REJECTED")
	close(talk.end) // the controller ends the stream: the node comes back
	talk = c.accept(t)
	talk.hearsHello("a 1", "bad ?")
	talk.says(&nodev1.Update{Revision: 3, Bundles: some(bundle("a", "2"))})
	talk.hearsReport(3, "a 2 STATE_APPLIED")

	server.Stop() // it goes away, and another one comes
	_ = os.Remove(address)
	c, _ = startController(t, address)
	talk = c.accept(t)
	talk.hearsHello("a 2", "bad ?")
	talk.says(&nodev1.Update{Revision: 4, RemovedApis: []string{"a"}})
	talk.hearsReport(4, "a  STATE_REMOVED")
}

func TestChangedPoliciesAreReportedOnTheSameStream(t *testing.T) {
	address := shortPath(t)
	c, _ := startController(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.options.Controller = "unix:" + address
	b.run()
	talk := c.accept(t)
	talk.hearsHello()
	before := (*b.node.policies.Load())
	more := Policy{Name: "fresh", Version: "v1.0.0", DefinitionDigest: "new", Factory: nil}
	b.node.SetPolicies(append(slices.Collect(maps.Values(before)), more))
	if hello := talk.hearsHello(); len(hello.GetPolicies()) != len(before)+1 || hello.GetPolicies()[0].GetName() != "fresh" {
		t.Errorf("expected a hello with one policy more, got %v", hello)
	}
	talk.says(&nodev1.Update{Revision: 1, Bundles: some(bundle("a", "1"))})
	talk.hearsReport(1, "a 1 STATE_APPLIED")
}

// No API may use the admin listener as its upstream, so the node reports its address, and each move.
func TestTheHelloNamesTheAdminListenerAndIsRepeatedWhenItMoves(t *testing.T) {
	address := shortPath(t)
	c, _ := startController(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	listens := ""
	b.node.options.Telemetry = func(telemetry *nodev1.Telemetry) { listens = telemetry.GetAdmin().GetAddress() }
	b.node.options.AdminAddress = func() string { return listens }
	b.node.options.Controller = "unix:" + address
	b.run()
	talk := c.accept(t)
	if hello := talk.hearsHello(); hello.GetAdminAddress() != "" {
		t.Errorf("expected no admin listener yet, got %v", hello)
	}
	// moved returns the address in the hello that comes before the report about the Gateway; "": there is none.
	moved := func(revision uint64, digest, address string) (at string) {
		talk.says(&nodev1.Update{Revision: revision, Gateway: listeningAt(digest, address)})
		for {
			message := talk.hears()
			if hello := message.GetHello(); hello != nil {
				at = hello.GetAdminAddress()
			}
			if message.GetReport().GetGateway().GetDigest() == digest {
				return at
			}
		}
	}
	equal(t, "hellos", []string{moved(1, "first", "127.0.0.1:9901"), moved(2, "second", "127.0.0.1:9901"), moved(3, "third", "127.0.0.1:9902")},
		"127.0.0.1:9901", "", "127.0.0.1:9902")
	close(talk.end)
	if hello := c.accept(t).hears().GetHello(); hello.GetAdminAddress() != "127.0.0.1:9902" {
		t.Errorf("expected where it is in the first hello of another stream, got %v", hello)
	}
}

func listeningAt(digest, address string) *nodev1.Gateway {
	gateway := gatewayWith(digest, "http")
	gateway.Telemetry = &nodev1.Telemetry{Admin: &nodev1.Admin{Address: address}}
	return gateway
}

// A controller that changes its mind while the node is disconnected must be able to withdraw updates that are not applied yet.
func TestTheHelloNamesQueuedAPIs(t *testing.T) {
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.apply(1, some(bundle("a", "1"), bundle("b", "1")))
	b.shelf.failing(errors.New("no route to host"))
	b.apply(2, some(bundle("a", "2"), bundle("c", "1")))
	hello := func() (refs []string) {
		for _, ref := range b.node.hello().GetBundles() {
			refs = append(refs, refText(ref))
		}
		return refs
	}
	equal(t, "hello", hello(), "a 1?", "b 1", "c ?")
	if served := b.node.Stats().APIs; served != 2 {
		t.Errorf("expected two APIs that are served, got %d", served)
	}
	b.apply(3, some(bundle("a", "1")), "c")
	equal(t, "hello", hello(), "a 1", "b 1")
	equal(t, "answers 503 for", b.envoy.answersFor())
	b.node.Close()
}

func TestAnUnappliedUpdateIsDroppedWithItsStream(t *testing.T) {
	address := shortPath(t)
	c, _ := startController(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.options.Controller = "unix:" + address
	b.node.inbox.add(&nodev1.Update{Revision: 1, Bundles: some(bundle("gone", "1"))}) // of a stream before
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go b.node.runClient(ctx)
	c.accept(t).hearsHello()
	if update := b.node.inbox.drain(); update != nil {
		t.Errorf("expected nothing to be applied, got %v", update)
	}
	b.node.Close()
}

func TestALargeUpdateFits(t *testing.T) {
	address := shortPath(t)
	c, _ := startController(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.options.Controller = "unix:" + address
	b.run()
	talk := c.accept(t)
	talk.hearsHello()
	large := bundle("a", "1")
	large.Chains[0].Attachments[0].Parameters = []byte(`{"x":"` + string(make([]byte, 8<<20)) + `"}`) // grpc-go's default is 4 MiB
	talk.says(&nodev1.Update{Revision: 1, Bundles: some(large)})
	talk.hearsReport(1, "a 1 STATE_APPLIED")
}

func TestUpdatesThatArriveMeanwhileAreAppliedAsOne(t *testing.T) {
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.envoy.drainTranscript()
	b.node.inbox.add(&nodev1.Update{Revision: 1, Bundles: some(bundle("a", "1"), bundle("b", "1"), bundle("c", "1"))})
	b.node.inbox.add(&nodev1.Update{Revision: 2, Bundles: some(bundle("a", "2")), RemovedApis: []string{"b"}})
	b.run()
	var reported []string
	b.eventually("one report", func() bool { reported = append(reported, b.reported()...); return len(reported) == 3 })
	equal(t, "report", reported, "2 a 2 APPLIED", "2 b  REMOVED", "2 c 1 APPLIED")
	equal(t, "transcript", b.envoy.drainTranscript(), "clusters a|2 c|1: yes", "routes a|2 c|1: yes")
}

// shortPath is a socket's path: at most 107 bytes.
func shortPath(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return filepath.Join(directory, "s")
}
