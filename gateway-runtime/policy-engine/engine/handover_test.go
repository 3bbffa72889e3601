package engine

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

// handOver requests a handover at the admin socket, and returns the status.
func (e *testEngine) handOver(body string) int {
	e.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://engine/handover", strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	response, err := e.admin.Do(request)
	if err != nil {
		e.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestTwoEnginesOfANode has a second engine take the place of the first, on the same state directory, while the first goes on with
// exchanges.
func TestTwoEnginesOfANode(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	first := startEngine(t, directory, markManifest, registerMark, withController(address))
	envoy := envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one")}})
	c.until(t, "orders", "1", isApplied)
	envoy.Until("h", "/orders", "mark=one")
	if status := first.handOver(`{"off":true}`); status != http.StatusBadRequest {
		t.Errorf("expected an unknown field to be refused, got %d", status)
	}

	for range 2 { // the second time, nothing is left to do
		if status := first.handOver(`{"away":true}`); status != http.StatusOK {
			t.Fatalf("expected a handover, got %d", status)
		}
	}
	second := startEngine(t, directory, markManifest, registerMark, withController(address), func(o *Options) {
		o.ExtProc, o.XDS, o.Admin = "unix:"+directory+"/ext.2", "unix:"+directory+"/xds.2", "unix:"+directory+"/engine.2"
	})
	if err := os.Rename(directory+"/engine.2", directory+"/engine"); err != nil {
		t.Fatal(err)
	}
	c.send(t, &nodev1.Update{Revision: 2, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one"), api(t, "more", "1", upstream, "two")}})
	await.Until(t, "the second engine has both", func() bool {
		return second.engine.node.Stats().Pending == 0 && strings.Contains(second.log.String(), "last good state restored")
	})
	if status, body := envoy.Get("h", "/orders"); status != http.StatusOK || body != "mark=one" {
		t.Errorf("expected the first engine to go on with its Envoy, got %d %q", status, body)
	}
	if first.engine.node.Stats().APIs != 1 {
		t.Errorf("expected the first engine to apply no update, got %d APIs", first.engine.node.Stats().APIs)
	}
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	if got := second.status("/healthz"); got != http.StatusOK {
		t.Errorf("expected the admin socket of the second engine to stay when the first ends, got %d", got)
	}
}

// TestAHandoverThatIsCalledOff has the engine apply updates again.
func TestAHandoverThatIsCalledOff(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	engine := startEngine(t, directory, markManifest, registerMark, withController(address))
	envoy := envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one")}})
	c.until(t, "orders", "1", isApplied)
	for _, body := range []string{`{"away":true}`, `{"away":false}`} {
		if status := engine.handOver(body); status != http.StatusOK {
			t.Fatalf("%s: expected a handover, got %d", body, status)
		}
	}
	if err := os.RemoveAll(directory + "/state/last-good"); err != nil { // as if the other engine had written another one
		t.Fatal(err)
	}
	c.send(t, &nodev1.Update{Revision: 2, Bundles: []*nodev1.ApiBundle{api(t, "orders", "2", upstream, "two")}})
	c.until(t, "orders", "2", isApplied)
	envoy.Until("h", "/orders", "mark=two")
	if err := engine.end(); err != nil {
		t.Fatal(err)
	}
	again := startEngine(t, directory, markManifest, registerMark)
	if apis := again.engine.node.Stats().APIs; apis != 1 {
		t.Errorf("expected the state to have been stored whole, got %d APIs", apis)
	}
}
