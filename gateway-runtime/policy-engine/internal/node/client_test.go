package node

import (
	"errors"
	"maps"
	"os"
	"slices"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
	"gatewright.dev/policy-engine/internal/node/draining"
)

func TestANodeConversesWithItsController(t *testing.T) {
	address := controllertest.SocketPath(t)
	c, server := controllertest.Start(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.client.Address = "unix:" + address
	b.envoy.bad["bad|1"] = true
	b.run()

	stream := c.Accept(t)
	hello := stream.ReceiveHello()
	if hello.GetNodeId() != "n" || len(hello.GetPolicies()) != 1 || hello.GetPolicies()[0].GetDefinitionDigest() != "digest" {
		t.Errorf("expected node and policies in the hello, got %v", hello)
	}
	stream.Send(&nodev1.Update{Revision: 1})
	stream.ReceiveReport(1)
	stream.Send(&nodev1.Update{Revision: 2, Bundles: some(bundle("a", "1"), bundle("bad", "1"))})
	stream.ReceiveReport(2, "a 1 STATE_APPLIED", "bad 1 STATE_REJECTED")
	stream.End() // the controller ends the stream: the node comes back
	stream = c.Accept(t)
	stream.ReceiveHello("a 1", "bad ?")
	stream.Send(&nodev1.Update{Revision: 3, Bundles: some(bundle("a", "2"))})
	stream.ReceiveReport(3, "a 2 STATE_APPLIED")

	server.Stop() // it goes away, and another one comes
	_ = os.Remove(address)
	c, _ = controllertest.Start(t, address)
	stream = c.Accept(t)
	stream.ReceiveHello("a 2", "bad ?")
	stream.Send(&nodev1.Update{Revision: 4, RemovedApis: []string{"a"}})
	stream.ReceiveReport(4, "a  STATE_REMOVED")
}

func TestChangedPoliciesAreReportedOnTheSameStream(t *testing.T) {
	address := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.client.Address = "unix:" + address
	b.run()
	stream := c.Accept(t)
	stream.ReceiveHello()
	before := (*b.node.policies.Load())
	more := Policy{Name: "fresh", Version: "v1.0.0", DefinitionDigest: "new", Factory: nil}
	b.node.SetPolicies(append(slices.Collect(maps.Values(before)), more))
	if hello := stream.ReceiveHello(); len(hello.GetPolicies()) != len(before)+1 || hello.GetPolicies()[0].GetName() != "fresh" {
		t.Errorf("expected a hello with one policy more, got %v", hello)
	}
	stream.Send(&nodev1.Update{Revision: 1, Bundles: some(bundle("a", "1"))})
	stream.ReceiveReport(1, "a 1 STATE_APPLIED")
}

// No API may use the admin listener as its upstream, so the node reports its address, and each move.
func TestTheHelloNamesTheAdminListenerAndIsRepeatedWhenItMoves(t *testing.T) {
	address := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	listens := ""
	b.node.options.Telemetry = func(telemetry *nodev1.Telemetry) { listens = telemetry.GetAdmin().GetAddress() }
	b.node.options.AdminAddress = func() string { return listens }
	b.node.client.Address = "unix:" + address
	b.run()
	stream := c.Accept(t)
	if hello := stream.ReceiveHello(); hello.GetAdminAddress() != "" {
		t.Errorf("expected no admin listener yet, got %v", hello)
	}
	// moved returns the address in the hello that comes before the report about the Gateway; "": there is none.
	moved := func(revision uint64, digest, address string) (at string) {
		stream.Send(&nodev1.Update{Revision: revision, Gateway: listeningAt(digest, address)})
		for {
			message := stream.Receive()
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
	stream.End()
	if hello := c.Accept(t).Receive().GetHello(); hello.GetAdminAddress() != "127.0.0.1:9902" {
		t.Errorf("expected where it is in the first hello of another stream, got %v", hello)
	}
}

// The drain is the node's own state: each hello has it, also the first one of another stream.
func TestTheHelloHasTheLabelsAndIsRepeatedWhenTheNodeDrains(t *testing.T) {
	address := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.options.Labels = map[string]string{"zone": "eu"}
	b.node.client.Address = "unix:" + address
	b.run()
	stream := c.Accept(t)
	expect := func(message *nodev1.NodeMessage, state nodev1.DrainState) {
		t.Helper()
		if hello := message.GetHello(); hello.GetDrain() != state || hello.GetLabels()["zone"] != "eu" {
			t.Errorf("expected a hello with zone=eu and %v, got %v", state, message)
		}
	}
	expect(stream.Receive(), nodev1.DrainState_DRAIN_STATE_UNSPECIFIED)
	b.node.Draining().Report(draining.Serving)
	expect(stream.Receive(), nodev1.DrainState_DRAIN_STATE_SERVING)
	stream.SendDrain(&nodev1.Drain{Drained: true})
	expect(stream.Receive(), nodev1.DrainState_DRAIN_STATE_DRAINING)
	b.node.Draining().Report(draining.Drained)
	expect(stream.Receive(), nodev1.DrainState_DRAIN_STATE_DRAINED)
	stream.End()
	expect(c.Accept(t).Receive(), nodev1.DrainState_DRAIN_STATE_DRAINED)
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
			refs = append(refs, controllertest.RefText(ref))
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

func TestALargeUpdateFits(t *testing.T) {
	address := controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, address)
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.node.client.Address = "unix:" + address
	b.run()
	stream := c.Accept(t)
	stream.ReceiveHello()
	large := bundle("a", "1")
	large.Chains[0].Attachments[0].Parameters = []byte(`{"x":"` + string(make([]byte, 8<<20)) + `"}`) // grpc-go's default is 4 MiB
	stream.Send(&nodev1.Update{Revision: 1, Bundles: some(large)})
	stream.ReceiveReport(1, "a 1 STATE_APPLIED")
}

func TestUpdatesThatArriveMeanwhileAreAppliedAsOne(t *testing.T) {
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.envoy.drainTranscript()
	b.node.inbox.Add(&nodev1.Update{Revision: 1, Bundles: some(bundle("a", "1"), bundle("b", "1"), bundle("c", "1"))})
	b.node.inbox.Add(&nodev1.Update{Revision: 2, Bundles: some(bundle("a", "2")), RemovedApis: []string{"b"}})
	b.run()
	var reported []string
	b.eventually("one report", func() bool { reported = append(reported, b.reported()...); return len(reported) == 3 })
	equal(t, "report", reported, "2 a 2 APPLIED", "2 b  REMOVED", "2 c 1 APPLIED")
	equal(t, "transcript", b.envoy.drainTranscript(), "clusters a|2 c|1: yes", "routes a|2 c|1: yes")
}
