package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"      // the routes below name it in an Any
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3" // and the clusters this
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mark is the tests' policy: it sets x-mark to its parameter, and waits at the gate first if there is one.
type mark struct {
	value string
	gate  *gate
}

type gate struct{ entered, open chan struct{} }

func (m mark) OnRequest(ctx context.Context, _ *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if m.gate != nil {
		m.gate.entered <- struct{}{}
		select {
		case <-m.gate.open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &v1alpha.UpstreamRequestModifications{
		Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-mark", Value: m.value}}}}, nil
}

func (mark) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}
func (mark) Close() error { return nil }

func markFactory(gate *gate) v1alpha.Factory {
	return func(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
		var settings struct {
			Value string `json:"value"`
		}
		if err := params.Decode(&settings); err != nil {
			return nil, err
		}
		return mark{settings.Value, gate}, nil
	}
}

const markManifest = `{"version":1,"policies":[{"name":"mark","version":"v1.0.0","runtime":"go","definitionDigest":"d",
	"definition":{"name":"mark","version":"v1.0.0","runtime":"go","processingMode":{"requestHeaderMode":"PROCESS"}}}]}`

// testEngine is an engine that runs in the tests' process.
type testEngine struct {
	t         *testing.T
	directory string
	log       *logtest.Log
	stop      context.CancelFunc
	engine    *Engine
	admin     *http.Client
}

// optionsIn are the options of an engine with that manifest and all its files in directory, but for Register and Log.
func optionsIn(t *testing.T, directory, manifest string) Options {
	t.Helper()
	writeFile(t, directory+"/manifest.json", manifest)
	options := DefaultOptions()
	options.Manifest, options.NodeID, options.StateDir = directory+"/manifest.json", envoytest.NodeID, directory+"/state"
	options.ExtProc, options.XDS, options.Admin = "unix:"+directory+"/ext", "unix:"+directory+"/xds", "unix:"+directory+"/engine"
	return options
}

// startEngine starts an engine that serves once this returns, and that the test's end stops.
func startEngine(t *testing.T, directory, manifest string, register func(*Registry), change ...func(*Options)) *testEngine {
	t.Helper()
	e := &testEngine{t: t, directory: directory, log: &logtest.Log{}, admin: socketClient(directory + "/engine")}
	options := optionsIn(t, directory, manifest)
	options.Register, options.Log = register, newLogger(e.log, slog.LevelInfo)
	for _, change := range change {
		change(&options)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the engine's log:\n%s", e.log)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	var err error
	if e.engine, err = Start(ctx, options); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.end() })
	return e
}

func withController(address string) func(*Options) {
	return func(o *Options) { o.Controller = address }
}

// runProgram runs the program, which must stop by itself, and returns its exit code and its log.
func runProgram(t *testing.T, directory, manifest string, register func(*Registry), more ...string) (int, string) {
	t.Helper()
	var log logtest.Log
	code := run(t.Context(), append(programArguments(t, directory, manifest), more...), &log, register, func(*slog.Logger, *commandLine) {})
	return code, log.String()
}

// programArguments are the arguments of an engine with that manifest and all its files in directory.
func programArguments(t *testing.T, directory, manifest string) []string {
	t.Helper()
	writeFile(t, directory+"/manifest.json", manifest)
	return []string{"--manifest", directory + "/manifest.json", "--ext-proc", "unix:" + directory + "/ext",
		"--xds", "unix:" + directory + "/xds", "--admin", "unix:" + directory + "/engine", "--node-id", envoytest.NodeID,
		"--state-dir", directory + "/state"}
}

// end stops the engine and waits for it.
func (e *testEngine) end() error {
	e.stop()
	e.admin.CloseIdleConnections()
	ended := make(chan error, 1)
	go func() { ended <- e.engine.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(await.Limit):
		e.t.Errorf("expected the engine to stop within %s", await.Limit)
		return nil
	}
}

// get requests a document of the admin socket.
func (e *testEngine) get(path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return nil, err
	}
	return e.admin.Do(request)
}

// status is the status of an answer of the admin socket, 0 if there is none.
func (e *testEngine) status(path string) int {
	response, err := e.get(path)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func socketClient(path string) *http.Client {
	dialer := net.Dialer{}
	return &http.Client{Timeout: await.Limit, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }}}
}

func ask[T any](e *testEngine, path string) T {
	e.t.Helper()
	var value T
	response, err := e.get(path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&value); err != nil {
		e.t.Fatal(err)
	}
	return value
}

// controller sends the states that the test sets, and keeps the reports.
type controller struct {
	nodev1.UnimplementedNodeServiceServer
	updates  chan *nodev1.Update
	observes chan nodev1.NodeService_ObserveServer // streams of nodes that tell
	mutex    sync.Mutex
	states   map[string]*nodev1.ApiStatus
	hello    *nodev1.Hello
}

func startController(t *testing.T, directory string) (*controller, string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", directory+"/controller")
	if err != nil {
		t.Fatal(err)
	}
	c, server := &controller{updates: make(chan *nodev1.Update), observes: make(chan nodev1.NodeService_ObserveServer, 16), states: map[string]*nodev1.ApiStatus{}}, grpc.NewServer()
	nodev1.RegisterNodeServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c, "unix:" + directory + "/controller"
}

func (c *controller) Sync(stream nodev1.NodeService_SyncServer) error {
	go func() {
		for message, err := stream.Recv(); err == nil; message, err = stream.Recv() {
			c.take(message)
		}
	}()
	for {
		select {
		case update := <-c.updates:
			if err := stream.Send(&nodev1.ControllerMessage{Message: &nodev1.ControllerMessage_Update{Update: update}}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (c *controller) Observe(stream nodev1.NodeService_ObserveServer) error {
	c.observes <- stream
	<-stream.Context().Done()
	return nil
}

func (c *controller) take(message *nodev1.NodeMessage) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if hello := message.GetHello(); hello != nil {
		c.hello = hello
	}
	for _, status := range message.GetReport().GetApis() {
		c.states[status.GetApi()] = status
	}
}

func (c *controller) send(t *testing.T, update *nodev1.Update) {
	t.Helper()
	select {
	case c.updates <- update:
	case <-time.After(await.Limit):
		t.Fatalf("expected a node to take the update within %s", await.Limit)
	}
}

// until waits for a status of one version of an API and returns its reason.
func (c *controller) until(t *testing.T, api, digest string, state nodev1.ApiStatus_State) string {
	t.Helper()
	var last *nodev1.ApiStatus
	await.Until(t, fmt.Sprintf("%s %s is %s", api, digest, state), func() bool {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		last = c.states[api]
		return last.GetDigest() == digest && last.GetState() == state
	})
	return last.GetReason()
}

// api is an API at /NAME that goes to upstream; with a value it has a chain of one mark.
func api(t *testing.T, name, digest string, upstream int, value string) *nodev1.ApiBundle {
	t.Helper()
	chain, perRoute, cluster := "", "", name+"|"+digest
	message := &nodev1.ApiBundle{Api: name, Digest: digest, Context: "/" + name, Version: "v1.0"}
	if value != "" {
		chain = (fmt.Sprintf("%x", name+digest+value) + strings.Repeat("0", 32))[:32]
		perRoute = `,"typedPerFilterConfig":{"envoy.filters.http.ext_proc":{"@type":"type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
			"overrides":{"processingMode":{"requestHeaderMode":"SEND","responseHeaderMode":"SKIP","requestBodyMode":"NONE","responseBodyMode":"NONE"}}}}`
		mode := &nodev1.ProcessingMode{RequestHeaders: nodev1.HeaderMode_HEADER_MODE_PROCESS}
		message.Chains = []*nodev1.Chain{{Id: chain, Operation: "GET /*", ProcessingMode: mode, Attachments: []*nodev1.Attachment{{
			Instance: "instance of " + name + value, PolicyName: "mark", PolicyVersion: "v1.0.0", DefinitionDigest: "d", ProcessingMode: mode,
			Parameters: fmt.Appendf(nil, `{"value":%q}`, value), TimeoutMs: 20_000}}}}
	}
	message.Routes = [][]byte{serialized(t, &routev3.Route{}, fmt.Sprintf(
		`{"name":"%s|GET /*|%s","match":{"pathSeparatedPrefix":"/%s"},"route":{"cluster":%q}%s}`, name, chain, name, cluster, perRoute))}
	message.Clusters = [][]byte{serialized(t, &clusterv3.Cluster{}, fmt.Sprintf(
		`{"name":%q,"type":"STATIC","connectTimeout":"1s","loadAssignment":{"clusterName":%q,"endpoints":[{"lbEndpoints":[
			{"endpoint":{"address":{"socketAddress":{"address":"127.0.0.1","portValue":%d}}}}]}]}}`, cluster, cluster, upstream))}
	return message
}

func serialized(t *testing.T, into proto.Message, text string) []byte {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	wire, err := proto.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func startUpstream(t *testing.T) int {
	return envoytest.Upstream(t, func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "mark=", r.Header.Get("x-mark")) })
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(path), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
