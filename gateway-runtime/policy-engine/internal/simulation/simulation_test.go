package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
)

func bundle(api, digest string) *nodev1.ApiBundle { return &nodev1.ApiBundle{Api: api, Digest: digest} }

func TestANodeReportsWhatItIsSentAndSaysItAgain(t *testing.T) {
	path := controllertest.SocketPath(t)
	server, _ := controllertest.Start(t, path)
	lines := make(chan line, 10)
	policies := []*nodev1.PolicyRef{{Name: "tag", Version: "v1.0.0", DefinitionDigest: "d"}}
	node := newNode("n-000", "127.1.0.1:9901", policies, func(line line) { lines <- line })
	client := node.newClient("unix:"+path, controller.Credentials{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	go client.Run(t.Context())
	go node.run(t.Context())

	stream := server.Accept(t)
	hello := stream.ReceiveHello()
	if hello.GetNodeId() != "n-000" || hello.GetAdminAddress() != "127.1.0.1:9901" || len(hello.GetPolicies()) != 1 || hello.GetConsumers() == nil {
		t.Errorf("expected the hello of n-000 with a policy, its admin address and its consumers, got %v", hello)
	}
	stream.Send(&nodev1.Update{Revision: 7, Bundles: []*nodev1.ApiBundle{bundle("a", "1"), bundle("b", "1")}, Gateway: &nodev1.Gateway{Digest: "g"}})
	report := stream.Receive().GetReport()
	if got := statusesOf(report); !slices.Equal(got, []string{"a 1 STATE_APPLIED", "b 1 STATE_APPLIED"}) || report.GetGateway().GetDigest() != "g" {
		t.Errorf("expected a report of both APIs and the Gateway, got %v", report)
	}
	first := await.Receive(t, lines, "a line")
	if first.Revision != 7 || first.APIs != 2 || first.Changed != 2 {
		t.Errorf("expected 2 APIs of revision 7, got %+v", first)
	}
	stream.Send(&nodev1.Update{Revision: 8, Bundles: []*nodev1.ApiBundle{bundle("a", "2")}, RemovedApis: []string{"b"}})
	if got := statusesOf(stream.Receive().GetReport()); !slices.Equal(got, []string{"a 2 STATE_APPLIED", "b  STATE_REMOVED"}) {
		t.Errorf("expected a report of the change and the removal, got %v", got)
	}
	if second := await.Receive(t, lines, "a line"); second.State == first.State || second.APIs != 1 {
		t.Errorf("expected another state, of 1 API, got %+v after %+v", second, first)
	}

	stream.End()
	if hello := server.Accept(t).ReceiveHello("a 2"); hello.GetGatewayDigest() != "g" {
		t.Errorf("expected the Gateway that it has, got %v", hello)
	}
}

func statusesOf(report *nodev1.Report) (texts []string) {
	for _, status := range report.GetApis() {
		texts = append(texts, status.GetApi()+" "+status.GetDigest()+" "+status.GetState().String())
	}
	return texts
}

func TestNodesWithTheSameAPIsHaveTheSameState(t *testing.T) {
	node, other := newNode("1", "", nil, nil), newNode("2", "", nil, nil)
	for _, api := range []string{"a", "b", "c"} {
		node.set(api, "1")
	}
	for _, change := range [][2]string{{"c", "1"}, {"x", "1"}, {"a", "0"}, {"b", "1"}, {"a", "1"}, {"x", ""}, {"never", ""}} {
		other.set(change[0], change[1])
	}
	if node.state != other.state || len(other.digests) != 3 {
		t.Errorf("expected %016x of 3 APIs, got %016x of %d", node.state, other.state, len(other.digests))
	}
	other.set("b", "2")
	if node.state == other.state {
		t.Error("expected another state for another digest, got the same")
	}
}

func TestAManifestNamesThePolicies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.json")
	text := `{"version": 1, "policies": [{"name": "tag", "version": "v1.0.0", "runtime": "go", "definitionDigest": "d"}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	policies, err := readPolicies(path)
	if err != nil || len(policies) != 1 || policies[0].GetName() != "tag" || policies[0].GetDefinitionDigest() != "d" {
		t.Errorf("expected the policy tag, got %v, %v", policies, err)
	}
	if err := run(t.Context(), []string{"--manifest", path}); err == nil {
		t.Error("expected an error without a controller, got none")
	}
}
