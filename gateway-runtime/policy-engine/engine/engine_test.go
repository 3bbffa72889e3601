package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

const (
	isApplied  = nodev1.ApiStatus_STATE_APPLIED
	isRejected = nodev1.ApiStatus_STATE_REJECTED
	isRemoved  = nodev1.ApiStatus_STATE_REMOVED
	isPending  = nodev1.ApiStatus_STATE_PENDING
)

func registerMark(r *Registry) { r.Register("mark", "v1.0.0", markFactory(nil)) }

func TestAnEngineServesTheStateOfItsController(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	engine := startEngine(t, directory, markManifest, registerMark, withController(address))
	envoy := envoytest.Start(t, directory)

	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one"), api(t, "plain", "1", upstream, "")}})
	c.until(t, "orders", "1", isApplied)
	envoy.Until("h", "/orders/1", "mark=one")
	envoy.Until("h", "/plain", "mark=")
	if stats := ask[admin.Stats](engine, "/stats"); stats.ExtProc.Exchanges == 0 || stats.Node.APIs != 2 || !stats.XDS.EnvoyConnected {
		t.Errorf("expected counters, got %+v", stats)
	}
	if chains := ask[[]admin.Chain](engine, "/chains"); len(chains) != 1 || chains[0].Instances[0].Policy != "mark:v1.0.0" {
		t.Errorf("expected the one chain, got %+v", chains)
	}

	c.send(t, &nodev1.Update{Revision: 2, Bundles: []*nodev1.ApiBundle{api(t, "orders", "2", upstream, "two")}, RemovedApis: []string{"plain"}})
	c.until(t, "orders", "2", isApplied)
	c.until(t, "plain", "", isRemoved)
	envoy.Until("h", "/orders/1", "mark=two")
	envoy.Until("h", "/plain", "")
	if err := engine.end(); err != nil {
		t.Errorf("expected an orderly stop, got %v", err)
	}
	checkLog(t, engine.log.String())
}

func checkLog(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var entry struct{ Time, Level, Component, Message string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Component != "policy-engine" ||
			entry.Message == "" || entry.Level != strings.ToLower(entry.Level) {
			t.Errorf("expected a JSON line with time, level, component and message, got %s", line)
		}
	}
}

func TestABundleThatEnvoyRefusesIsRejectedAndTheOthersServe(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	startEngine(t, directory, markManifest, registerMark, withController(address))
	envoy := envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "bad", "1", upstream, "good once")}})
	c.until(t, "bad", "1", isApplied)

	bad := api(t, "bad", "2", upstream, "never")
	bad.Routes[0] = serialized(t, &routev3.Route{}, `{"name":"bad|GET /*|","match":{"prefix":"/"},"directResponse":{"status":200},
		"typedPerFilterConfig":{"x":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}}`)
	cluster := api(t, "cluster", "1", upstream, "")
	cluster.Clusters[0] = bytes.Replace(cluster.Clusters[0], []byte("127.0.0.1"), []byte("127.0.0.x"), 1) // STATIC wants an address
	c.send(t, &nodev1.Update{Revision: 2, Bundles: []*nodev1.ApiBundle{
		api(t, "a", "1", upstream, "a"), bad, api(t, "b", "1", upstream, "b"), cluster, api(t, "c", "1", upstream, "c")}})
	for _, name := range []string{"a", "b", "c"} {
		c.until(t, name, "1", isApplied)
		envoy.Until("h", "/"+name, "mark="+name)
	}
	if reason := c.until(t, "bad", "2", isRejected); !strings.Contains(reason, "refused by Envoy") || !strings.Contains(reason, "Duration") {
		t.Errorf("expected Envoy's reason, got %q", reason)
	}
	if reason := c.until(t, "cluster", "1", isRejected); !strings.Contains(reason, "127.0.0.x") {
		t.Errorf("expected Envoy's reason, got %q", reason)
	}
	envoy.Until("h", "/bad", "mark=good once")
}

func TestAnEngineRestartsFromTheLastGoodStateWithoutItsController(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	first := startEngine(t, directory, markManifest, registerMark, withController(address))
	envoy := envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one"), api(t, "plain", "1", upstream, "")}})
	c.until(t, "plain", "1", isApplied)
	envoy.Until("h", "/plain", "mark=")
	envoy.Until("h", "/orders", "mark=one")
	if err := first.end(); err != nil {
		t.Fatalf("expected an orderly stop, got %v", err)
	}
	if status, _ := envoy.Get("h", "/orders"); status != http.StatusServiceUnavailable {
		t.Errorf("expected 503 from a route with policies while there is no engine, got %d", status)
	}

	second := startEngine(t, directory, markManifest, registerMark, withController("unix:"+directory+"/absent"))
	for !strings.Contains(second.log.String(), "Envoy serves the node's state") {
		if status, body := envoy.Get("h", "/plain"); body != "mark=" {
			t.Fatalf("the route without policies failed during the restart: %d %q", status, body)
		}
	}
	envoy.Until("h", "/orders", "mark=one")
	if stats := ask[admin.Stats](second, "/stats"); stats.XDS.RoutesConfirmed == 0 || stats.Node.APIs != 2 {
		t.Errorf("expected the state to be served, got %+v", stats)
	}
}

func TestAStopLetsExchangesEnd(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	gate := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	engine := startEngine(t, directory, markManifest, func(r *Registry) { r.Register("mark", "v1.0.0", markFactory(gate)) }, withController(address))
	envoy := envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one")}})
	c.until(t, "orders", "1", isApplied)
	envoy.Until("h", "/nothing", "")
	answer := make(chan string, 1)
	go func() {
		status, body, err := envoy.Try("h", "/orders")
		answer <- fmt.Sprint(status, body, err)
	}()
	<-gate.entered
	engine.stop()
	await.Until(t, "no longer ready", func() bool {
		return engine.status("/ready") == http.StatusServiceUnavailable
	})
	close(gate.open)
	if got := <-answer; got != "200mark=one<nil>" {
		t.Errorf("expected the exchange under way to end well, got %s", got)
	}
	if err := engine.end(); err != nil {
		t.Errorf("expected an orderly stop, got %v", err)
	}
}

func TestADrainIsBounded(t *testing.T) {
	directory, upstream := envoytest.Directory(t), startUpstream(t)
	c, address := startController(t, directory)
	gate := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	engine := startEngine(t, directory, markManifest, func(r *Registry) { r.Register("mark", "v1.0.0", markFactory(gate)) },
		withController(address), func(o *Options) { o.DrainTimeout = 100 * time.Millisecond })
	envoy := envoytest.Start(t, directory)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{api(t, "orders", "1", upstream, "one")}})
	c.until(t, "orders", "1", isApplied)
	envoy.Until("h", "/nothing", "")
	answer := make(chan int, 1)
	go func() { status, _, _ := envoy.Try("h", "/orders"); answer <- status }()
	<-gate.entered
	if err := engine.end(); err != nil {
		t.Errorf("expected an orderly stop, got %v", err)
	}
	if status := <-answer; status < 500 {
		t.Errorf("expected an error for an exchange that was cut off, got %d", status)
	}
}

func TestAFailedStartNamesItsReason(t *testing.T) {
	directory := envoytest.Directory(t)
	alive, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", directory+"/alive")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alive.Close() }()
	writeFile(t, directory+"/file", "mine")
	for name, c := range map[string]struct {
		manifest string
		register func(*Registry)
		more     []string
		code     int
		reason   string
	}{
		"not compiled in": {markManifest, func(r *Registry) { r.Register("other", "v2.0.0", markFactory(nil)) }, nil, 1,
			"mark:v1.0.0 is in the manifest but not compiled into this engine, which has other:v2.0.0"},
		"twice":          {markManifest, func(r *Registry) { registerMark(r); registerMark(r) }, nil, 1, "mark:v1.0.0 is registered twice"},
		"other manifest": {`{"version":2}`, registerMark, nil, 1, "version: expected 1, got 2"},
		"no group": {`{"version":1,"policies":[{"name":"p","version":"v1.0.0","runtime":"python","definitionDigest":"d"}]}`, registerMark, nil, 1,
			"p:v1.0.0: group: expected"},
		"taken":         {markManifest, registerMark, []string{"--xds", "unix:" + directory + "/alive"}, 1, "--xds: " + directory + "/alive: another process listens there"},
		"file":          {markManifest, registerMark, []string{"--ext-proc", "unix:" + directory + "/file"}, 1, "expected a socket or nothing"},
		"no socket":     {markManifest, registerMark, []string{"--admin", "127.0.0.1:1"}, 2, `--admin: expected unix:PATH, got "127.0.0.1:1"`},
		"executor":      {markManifest, registerMark, []string{"--executor", "default"}, 2, "expected GROUP=unix:PATH"},
		"unknown flag":  {markManifest, registerMark, []string{"--what"}, 2, "flag provided but not defined: -what"},
		"stray":         {markManifest, registerMark, []string{"stray"}, 2, "expected flags only"},
		"node id":       {markManifest, registerMark, []string{"--node-id", ""}, 2, "--node-id: expected a value"},
		"no state dir.": {markManifest, registerMark, []string{"--state-dir", directory + "/file"}, 1, "state directory"},
	} {
		code, log := runProgram(t, directory, c.manifest, c.register, c.more...)
		if code != c.code || !strings.Contains(strings.ReplaceAll(log, `\"`, `"`), c.reason) {
			t.Errorf("%s: expected exit code %d and %q, got %d and %s", name, c.code, c.reason, code, log)
		}
	}
	if text, err := os.ReadFile(directory + "/file"); err != nil || string(text) != "mine" {
		t.Errorf("expected the file to be left alone, got %q, %v", text, err)
	}
}

func TestSocketsArePrivateAndStaleOnesGo(t *testing.T) {
	directory := envoytest.Directory(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: directory + "/ext"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	engine := startEngine(t, directory, markManifest, registerMark)
	if status := engine.status("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: expected 200, got %d", status)
	}
	for _, name := range []string{"ext", "xds", "engine"} {
		if info, err := os.Stat(directory + "/" + name); err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("%s: expected a socket of mode 0600, got %v, %v", name, info, err)
		}
	}
	_ = engine.end()
	for _, name := range []string{"ext", "xds", "engine"} {
		if _, err := os.Stat(directory + "/" + name); err == nil {
			t.Errorf("%s is left behind", name)
		}
	}
}

const pythonManifest = `{"version":1,"policies":[{"name":"p","version":"v1.0.0","runtime":"python","group":"default","definitionDigest":"d",
	"definition":{"name":"p","version":"v1.0.0","runtime":"python","processingMode":{"requestHeaderMode":"PROCESS"}}}]}`

func TestOnlyAManifestWithPythonPoliciesConnectsToExecutors(t *testing.T) {
	for _, c := range []struct {
		manifest string
		connects bool
	}{{markManifest, false}, {pythonManifest, true}} {
		directory := envoytest.Directory(t)
		executor, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", directory+"/py")
		if err != nil {
			t.Fatal(err)
		}
		connected := make(chan struct{}, 16)
		go func() {
			for connection, err := executor.Accept(); err == nil; connection, err = executor.Accept() {
				_ = connection.Close()
				connected <- struct{}{}
			}
		}()
		controller, address := startController(t, directory)
		engine := startEngine(t, directory, c.manifest, registerMark, withController(address),
			func(o *Options) { o.Executors = map[string][]string{"default": {"unix:" + directory + "/py"}} })
		if c.connects {
			await.Receive(t, connected, "a connection of the engine to the executor")
		}
		await.Until(t, "a hello", func() bool { return controller.helloPolicies() == 1 })
		_ = engine.end()
		_ = executor.Close()
		if !c.connects && len(connected) > 0 {
			t.Error("expected nothing to connect to an executor without Python policies")
		}
	}
}

func (c *controller) helloPolicies() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.hello.GetPolicies())
}

func TestOnlyEnvoyIsServedItsState(t *testing.T) {
	directory := envoytest.Directory(t)
	writeFile(t, directory+"/peers.json", fmt.Sprintf(`{"supervisor":%d,"envoy":%d}`, os.Getpid(), os.Getppid()))
	engine := startEngine(t, directory, markManifest, registerMark, func(o *Options) { o.Peers = directory + "/peers.json" })
	if status := engine.status("/ready"); status != http.StatusOK {
		t.Errorf("expected the supervisor, who asks, to be let in, got %d", status)
	}
	for _, name := range []string{"ext", "xds"} {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "unix", directory+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := connection.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: expected the connection to be closed", name)
		}
		_ = connection.Close()
	}
	if log := engine.log.String(); !strings.Contains(log, "connection refused") || !strings.Contains(log, fmt.Sprint(os.Getpid())) {
		t.Errorf("expected a warning that names the pid, got %s", log)
	}
}

func TestHelpIsNoError(t *testing.T) {
	var text bytes.Buffer
	if code := run(context.Background(), []string{"--help"}, &text, registerMark, func(*slog.Logger, *commandLine) {}); code != 0 || !strings.Contains(text.String(), "unix:PATH") {
		t.Errorf("expected usage and exit code 0, got %d and %s", code, text.String())
	}
}

// TestANodeIsNotReadyBeforeItHasAnEnvoyAndAState: a load balancer that asks /ready sends a new node no request that it cannot serve.
func TestANodeIsNotReadyBeforeItHasAnEnvoyAndAState(t *testing.T) {
	directory := envoytest.Directory(t)
	c, address := startController(t, directory)
	first := startEngine(t, directory, markManifest, registerMark, withController(address))
	expect := func(e *testEngine, obstacle string) {
		t.Helper()
		await.Until(t, fmt.Sprintf("the obstacle is %q", obstacle), func() bool { return e.engine.obstacle() == obstacle })
	}
	expect(first, "Envoy is not connected")
	envoytest.Start(t, directory)
	expect(first, "it has no state yet, and waits for its controller")
	c.send(t, &nodev1.Update{Revision: 1})
	expect(first, "")
	if err := first.end(); err != nil {
		t.Fatal(err)
	}

	again := startEngine(t, directory, markManifest, registerMark, withController(address))
	expect(again, "")
}

// TestTheAdminListenerComesWithTheGateway, and gives the same answers as the admin socket.
func TestTheAdminListenerComesWithTheGateway(t *testing.T) {
	directory := envoytest.Directory(t)
	c, address := startController(t, directory)
	engine := startEngine(t, directory, markManifest, registerMark, func(o *Options) {
		withController(address)(o)
		o.MetricsSources = []metrics.Source{{Name: "absent", Socket: "/no/such/socket", Path: "/metrics"}}
	})
	if stats := ask[admin.Stats](engine, "/stats"); stats.Listener != "" || len(stats.MetricsFailing) != 0 {
		t.Errorf("expected no listener without a Gateway, and no scrape, got %q and %q", stats.Listener, stats.MetricsFailing)
	}
	send := func(revision uint64, telemetry *nodev1.Telemetry) {
		c.send(t, &nodev1.Update{Revision: revision, Gateway: &nodev1.Gateway{Digest: fmt.Sprint(revision), Telemetry: telemetry}})
	}
	send(1, &nodev1.Telemetry{Admin: &nodev1.Admin{Address: "127.0.0.1"}})
	await.Until(t, "it listens", func() bool { return ask[admin.Stats](engine, "/stats").Listener != "" })
	at := "http://" + ask[admin.Stats](engine, "/stats").Listener
	for path, want := range map[string]string{"/metrics": "gatewright_build_info{", "/healthz": `"ok"`, "/ready": `"Envoy is not connected"`, "/stats": "404"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(response.Body)
		_ = response.Body.Close()
		if !strings.Contains(body.String(), want) {
			t.Errorf("%s: expected %s, got %s", path, want, body.String())
		}
	}
	if failing := ask[admin.Stats](engine, "/stats").MetricsFailing; !strings.Contains(failing["absent"], "no such file") {
		t.Errorf("expected the reason of the source that is not there, got %q", failing)
	}
	send(2, &nodev1.Telemetry{Admin: &nodev1.Admin{Disabled: true}})
	await.Until(t, "it has ended", func() bool { return ask[admin.Stats](engine, "/stats").Listener == "" })
}
