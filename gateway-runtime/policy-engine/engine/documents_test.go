package engine

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

// TestTheControllerGetsDocuments, the same as from the admin socket and the admin listener.
func TestTheControllerGetsDocuments(t *testing.T) {
	directory := envoytest.Directory(t)
	c, address := startController(t, directory)
	engine := startEngine(t, directory, markManifest, registerMark, withController(address))
	envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", startUpstream(t), "one")}})
	c.until(t, "orders", "1", isApplied)

	stream := <-c.observes
	first, err := stream.Recv()
	if err != nil || len(first.GetDocuments()) != 5 {
		t.Fatalf("expected five documents, got %v, %v", first, err)
	}
	for number, document := range first.GetDocuments() {
		content := documentOf(t, stream, uint64(number)+1, document) //nolint:gosec // small
		switch document {
		case nodev1.Document_DOCUMENT_METRICS:
			if !strings.Contains(content, "\n# TYPE gatewright_node_apis gauge\ngatewright_node_apis{state=\"pending\"} 0\n") || !strings.Contains(content, `gatewright_build_info{component="policy-engine",version="`+Version+`"} 1`) {
				t.Errorf("expected Prometheus' text, got %s", content)
			}
		case nodev1.Document_DOCUMENT_STATS:
			var stats admin.Stats
			if err := json.Unmarshal([]byte(content), &stats); err != nil || stats.Node.APIs != 1 || !stats.Node.ControllerConnected {
				t.Errorf("expected counters, got %v, %s", err, content)
			}
		case nodev1.Document_DOCUMENT_NOTES:
			if want := text(t, engine, "/notes"); content != want || want != "[]\n" {
				t.Errorf("expected a node without notes, got %s and %s", content, want)
			}
		default:
			path := map[nodev1.Document]string{nodev1.Document_DOCUMENT_CHAINS: "/chains", nodev1.Document_DOCUMENT_CLUSTERS: "/clusters"}[document]
			if want := text(t, engine, path); content != want || !strings.Contains(content, "orders") {
				t.Errorf("%v: expected %s, got %s", document, want, content)
			}
		}
	}
	if !slices.IsSorted(first.GetDocuments()) {
		t.Errorf("expected an order, got %v", first.GetDocuments())
	}
}

// documentOf requests a document, and returns all of it.
func documentOf(t *testing.T, stream nodev1.NodeService_ObserveServer, id uint64, which nodev1.Document) string {
	t.Helper()
	if err := stream.Send(&nodev1.Observation{Id: id, Document: which}); err != nil {
		t.Fatal(err)
	}
	var whole strings.Builder
	for {
		message, err := stream.Recv()
		if err != nil || message.GetObservation() != id || message.GetRefused() != "" {
			t.Fatalf("expected %v, got %v, %v", which, message, err)
		}
		whole.Write(message.GetPiece())
		if message.GetEnded() {
			return whole.String()
		}
	}
}

// text is the admin socket's answer.
func text(t *testing.T, engine *testEngine, path string) string {
	t.Helper()
	response, err := engine.get(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d, %v", path, response.StatusCode, err)
	}
	return string(body)
}
