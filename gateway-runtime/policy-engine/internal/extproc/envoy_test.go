package extproc_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"go.uber.org/goleak"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/sdk/policy/v1alpha"
)

// world is a real Envoy between a client and an upstream, with a chain for each route.
type world struct {
	listeners map[string]string // by name: host:port
	admin     string            // URL of Envoy's admin interface
	accessLog string
	counters  *exchange.Counters
	watches   exchange.Watches
	upstream  upstream
}

// testbed is made once for all tests: an Envoy takes a second to start.
var testbed *world

type listener struct{ Name, Upstream, RequestTimeout string }

// listeners are named after the protocol to the upstream; hurried is for requests that take too long.
var listeners = []listener{{"http1", "http1", patience}, {"http2", "http2", patience}, {hurried, "http1", "2s"}}

const hurried = "hurried"

// patience is Envoy's timeout in all other tests: a busy machine must not reach it.
var patience = fmt.Sprintf("%.0fs", await.Limit.Seconds())

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("envoy"); err != nil {
		fmt.Println("no `envoy` on PATH: the tests with a real Envoy are skipped; `make setup` installs it into .venv/bin")
		os.Exit(m.Run())
	}
	os.Exit(withWorld(m))
}

func withWorld(m *testing.M) int {
	directory, err := os.MkdirTemp("", "extproc")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	var stops []func()
	testbed, stops = build(directory)
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		return 1
	}
	return code
}

func build(directory string) (*world, []func()) {
	w := &world{accessLog: filepath.Join(directory, "access.log")}
	engine, stopEngine := w.startEngine(filepath.Join(directory, "engine.sock"))
	port, stopUpstream := w.upstream.start()
	stopEnvoy := w.startEnvoy(directory, map[string]any{
		"Listeners": listeners, "Patience": patience, "Routes": routes(), "EngineSocket": engine, "UpstreamPort": port, "AccessLog": w.accessLog,
	})
	return w, []func(){stopEnvoy, stopUpstream, stopEngine}
}

func (w *world) startEngine(socket string) (string, func()) {
	table := &chain.Table{}
	w.counters = exchange.NewCounters(slog.New(slog.DiscardHandler))
	for name, instances := range scenarios {
		table.Put(must(chain.New(chain.Spec{
			ID: name, API: "test", APIVersion: "v1", Context: "/" + name, Operation: "GET /*", Instances: instances, Upstreams: []string{"canary", "main"},
			EncodedResponses: strings.HasPrefix(name, "encodes-"), Observer: w.counters,
		})))
	}
	server := extproc.NewServer(exchange.NewServer(table, nil, w.counters, &w.watches), nil, slog.New(slog.DiscardHandler)).GRPC()
	listener := must(new(net.ListenConfig).Listen(context.Background(), "unix", socket))
	go func() { _ = server.Serve(listener) }()
	return socket, server.Stop
}

// ---------------------------------------------------------------- Envoy

type route struct{ Name, Chain, Mode, Cluster string }

// routes binds /NAME/ to the chain NAME, with the modes that it needs.
func routes() []route {
	list := []route{{Name: "unknown", Chain: "no-such-chain", Mode: mode(v1alpha.ProcessingModeConfig{})}}
	list = append(list, route{Name: "mismatch", Chain: "deny-body", Mode: mode(v1alpha.ProcessingModeConfig{})})
	for name, instances := range scenarios {
		c := must(chain.New(chain.Spec{ID: name, Instances: instances}))
		cluster := ""
		if strings.HasPrefix(name, "nowhere") {
			cluster = "nowhere"
		}
		list = append(list, route{Name: name, Chain: name, Mode: mode(c.Mode()), Cluster: cluster})
	}
	return list
}

func mode(m v1alpha.ProcessingModeConfig) string {
	send := map[bool]string{true: "SEND", false: "SKIP"}
	duplex := map[bool]string{true: "FULL_DUPLEX_STREAMED", false: "NONE"}
	return fmt.Sprintf("{request_header_mode: SEND, request_body_mode: %s, request_trailer_mode: %s, "+
		"response_header_mode: %s, response_body_mode: %s, response_trailer_mode: %s}",
		duplex[m.WantsRequestBody()], send[m.WantsRequestBody()],
		send[m.WantsResponse()], duplex[m.WantsResponseBody()], send[m.WantsResponseBody()])
}

func (w *world) startEnvoy(directory string, values map[string]any) func() {
	var config bytes.Buffer
	if err := template.Must(template.ParseFiles("testdata/envoy.yaml")).Execute(&config, values); err != nil {
		panic(err)
	}
	file, admin := filepath.Join(directory, "envoy.yaml"), filepath.Join(directory, "admin")
	if err := os.WriteFile(file, config.Bytes(), 0o600); err != nil {
		panic(err)
	}
	level := os.Getenv("ENVOY_LOG")
	if level == "" {
		level = "error"
	}
	envoy := exec.CommandContext(context.Background(), "envoy", "-c", file, "--concurrency", "1", "--use-dynamic-base-id",
		"--file-flush-interval-msec", "20", "--admin-address-path", admin, "-l", level)
	envoy.Stderr = os.Stderr
	if err := envoy.Start(); err != nil {
		panic(err)
	}
	w.awaitListeners(admin)
	return func() {
		_ = envoy.Process.Kill()
		_ = envoy.Wait()
	}
}

// awaitListeners waits until Envoy is ready, and reads the ports it has chosen. admin is a file that has its address.
func (w *world) awaitListeners(admin string) {
	deadline := time.Now().Add(await.Limit)
	for time.Now().Before(deadline) {
		address, err := os.ReadFile(admin)
		if w.admin = "http://" + string(address); err == nil {
			w.listeners, err = listenersOf(w.admin)
		}
		if err == nil && len(w.listeners) == len(listeners) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	panic(fmt.Sprintf("expected Envoy to be ready within %s", await.Limit))
}

// timedOut counts the requests that have taken longer than Envoy's request_timeout.
func (w *world) timedOut() (int, error) {
	text, err := get(w.admin + "/stats?filter=http.test.downstream_rq_timeout")
	if err != nil {
		return 0, err
	}
	_, number, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
	return strconv.Atoi(number)
}

func listenersOf(admin string) (map[string]string, error) {
	if _, err := get(admin + "/ready"); err != nil {
		return nil, err
	}
	text, err := get(admin + "/listeners?format=json")
	if err != nil {
		return nil, err
	}
	var status struct {
		Listeners []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Port int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	err = json.Unmarshal(text, &status)
	found := map[string]string{}
	for _, l := range status.Listeners {
		found[l.Name] = fmt.Sprintf("127.0.0.1:%d", l.Local.Socket.Port)
	}
	return found, err
}

// get is the body of a 200 answer.
func get(url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), await.Limit)
	defer cancel()
	answer, err := http.DefaultClient.Do(must(http.NewRequestWithContext(ctx, http.MethodGet, url, nil)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: got %d", url, answer.StatusCode)
	}
	return io.ReadAll(answer.Body)
}

// accessLine waits for the access log's line of path.
func (w *world) accessLine(t *testing.T, path string) map[string]any {
	t.Helper()
	var entry map[string]any
	await.Until(t, "a line for "+path+" in the access log", func() bool {
		text, _ := os.ReadFile(w.accessLog)
		for line := range strings.Lines(string(text)) {
			entry = nil
			if json.Unmarshal([]byte(line), &entry) == nil && entry["path"] == path {
				return true
			}
		}
		return false
	})
	return entry
}

// ---------------------------------------------------------------- upstream

// upstream records its requests, and answers as X-Answer says.
type upstream struct {
	mutex sync.Mutex
	seen  map[string]*arrival // by X-Test
}

// arrival is a request as the upstream saw it.
type arrival struct {
	Method, Host, URI string
	Header            http.Header
	Body              string
	Trailer           http.Header
	ContentLength     int64
}

func (u *upstream) start() (int, func()) {
	u.seen = map[string]*arrival{}
	listener := must(new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"))
	server := &http.Server{Handler: u, Protocols: &http.Protocols{}}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().(*net.TCPAddr).Port, func() { _ = server.Close() }
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if conversation := r.Header.Get("X-Conversation"); conversation != "" {
		converse(w, r, conversation)
		return
	}
	if codings := r.Header.Get("X-Encode"); codings != "" {
		converseEncoded(w, r, codings)
		return
	}
	body, _ := io.ReadAll(r.Body)
	u.mutex.Lock()
	u.seen[r.Header.Get("X-Test")] = &arrival{
		r.Method, r.Host, r.RequestURI, r.Header.Clone(), string(body), r.Trailer.Clone(), r.ContentLength,
	}
	u.mutex.Unlock()
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Add("Set-Cookie", "b=2")
	w.Header().Set("X-Upstream", "yes")
	answer := r.Header.Get("X-Answer")
	switch answer {
	case "204":
		w.WriteHeader(http.StatusNoContent)
	case "304":
		w.WriteHeader(http.StatusNotModified)
	case "empty":
		w.WriteHeader(http.StatusOK)
	case "trailers":
		w.Header().Set("Trailer", "X-End")
		_ = http.NewResponseController(w).Flush() // no content-length, with any protocol
		_, _ = io.WriteString(w, "with trailers")
		w.Header().Set("X-End", "reached")
	case "large":
		_, _ = w.Write(bytes.Repeat([]byte("x"), 3<<20))
	case "echo":
		_, _ = w.Write(body)
	case "stream":
		for range 3 {
			_, _ = io.WriteString(w, "piece ")
			_ = http.NewResponseController(w).Flush()
		}
	default:
		w.Header().Set("Content-Length", "8")
		_, _ = io.WriteString(w, "upstream")
	}
}

// arrival returns the request with X-Test: test, as the upstream saw it, or nil.
func (u *upstream) arrival(test string) *arrival {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return u.seen[test]
}

// ---------------------------------------------------------------- client

// reply is a response as the client saw it.
type reply struct {
	*http.Response
	body string
}

var requests atomic.Int64

// do sends a request by HTTP/1.1 (or, with h2c set, by HTTP/2) and reads the whole response.
func do(t *testing.T, protocol string, h2c bool, change func(*http.Request), method, path string, body io.Reader) (*reply, *arrival) {
	t.Helper()
	needEnvoy(t)
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
	defer cancel()
	request := must(http.NewRequestWithContext(ctx, method, "http://"+testbed.listeners[protocol]+path, body))
	test := strconv.FormatInt(requests.Add(1), 10)
	request.Header.Set("X-Test", test)
	if change != nil {
		change(request)
	}
	transport := &http.Transport{Protocols: &http.Protocols{}, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}, DisableCompression: true}
	transport.Protocols.SetHTTP1(!h2c)
	transport.Protocols.SetUnencryptedHTTP2(h2c)
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(bufio.NewReader(response.Body))
	if err != nil {
		t.Fatalf("%s %s: body: %v", method, path, err)
	}
	return &reply{response, string(text)}, testbed.upstream.arrival(test)
}

func needEnvoy(t *testing.T) {
	t.Helper()
	if testbed == nil {
		t.Skip("no `envoy` on PATH; `make setup` installs it into .venv/bin")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
