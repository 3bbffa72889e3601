package binding_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"gatewright.dev/policy-engine/internal/await"
)

// chains are those of the test module that the tests use.
var chains = []string{"stats", "headers", "late-headers", "slow-headers", "slow-analytics", "panic", "late-panic", "panic-response", "late-panic-response", "answer", "late-answer",
	"answer-response", "late-answer-response", "replace", "late-replace", "empty-header", "analytics", "late-analytics", "request-only", "late-request-only",
	"late-leave-its-process", "no-such-chain", "goroutine-headers"}

// envoy is a real Envoy with the test module, between clients and an upstream.
type envoy struct {
	address, hurried string // of the listeners
	accessLog        string
	log              *bytes.Buffer
	process          *exec.Cmd
	upstream         *httptest.Server
}

var shared *envoy // made once: it takes a C compiler half a minute

func TestMain(m *testing.M) {
	if missing := missingTools(); missing != "" {
		if os.Getenv("C_COMPILER_REQUIRED") != "" {
			fmt.Println("C_COMPILER_REQUIRED: " + missing)
			os.Exit(1)
		}
		fmt.Println(missing + ": the tests of the module in a real Envoy are skipped")
		os.Exit(0)
	}
	os.Exit(func() int {
		directory, err := os.MkdirTemp("", "module")
		check(err)
		defer func() { _ = os.RemoveAll(directory) }()
		shared = start(directory)
		defer shared.upstream.Close()
		code := m.Run()
		if os.Getenv("ENVOY_LOG") != "" {
			fmt.Println(shared.log)
		}
		return max(code, shared.stop())
	}())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func missingTools() string {
	if _, err := exec.LookPath("envoy"); err != nil {
		return "no `envoy` on PATH; `make setup` installs it into .venv/bin"
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return "no C compiler: expected gcc on PATH"
	}
	return ""
}

func start(directory string) *envoy {
	compiling := exec.CommandContext(context.Background(), "go", "build", "-buildmode=c-shared", "-tags=inenvoy", "-o", filepath.Join(directory, "libtestmodule.so"), "./testmodule")
	compiling.Env = append(os.Environ(), "CGO_ENABLED=1")
	if output, err := compiling.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, output))
	}
	e := &envoy{accessLog: filepath.Join(directory, "access.log"), log: &bytes.Buffer{}, upstream: httptest.NewServer(http.HandlerFunc(serveUpstream))}
	_, port, err := net.SplitHostPort(e.upstream.Listener.Addr().String())
	check(err)
	var config bytes.Buffer
	check(template.Must(template.ParseFiles("testdata/envoy.yaml")).Execute(&config, map[string]any{"Listeners": map[string]string{"main": "60s", "hurried": "0.5s"}, "Chains": chains, "UpstreamPort": port, "AccessLog": e.accessLog}))
	file, admin := filepath.Join(directory, "envoy.yaml"), filepath.Join(directory, "admin")
	check(os.WriteFile(file, config.Bytes(), 0o600))
	e.process = exec.CommandContext(context.Background(), "envoy", "-c", file, "--concurrency", "2", "--disable-hot-restart", "--file-flush-interval-msec", "20", "--admin-address-path", admin, "-l", cmp.Or(os.Getenv("ENVOY_LOG"), "warning"))
	e.process.Env = append(os.Environ(), "ENVOY_DYNAMIC_MODULES_SEARCH_PATH="+directory)
	e.process.Stderr = e.log
	check(e.process.Start())
	addresses := e.awaitListeners(admin)
	e.address, e.hurried = addresses["main"], addresses["hurried"]
	return e
}

// awaitListeners waits until Envoy serves, and returns the addresses that it has chosen.
func (e *envoy) awaitListeners(admin string) map[string]string {
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		address, err := os.ReadFile(admin)
		if err != nil {
			continue
		}
		response, err := http.Get("http://" + string(address) + "/listeners?format=json") //nolint:noctx // in TestMain
		if err != nil {
			continue
		}
		var list struct {
			Statuses []struct {
				Name    string
				Address struct {
					Socket struct {
						Port int `json:"port_value"`
					} `json:"socket_address"`
				} `json:"local_address"`
			} `json:"listener_statuses"`
		}
		err = json.NewDecoder(response.Body).Decode(&list)
		_ = response.Body.Close()
		if err == nil && len(list.Statuses) == 2 {
			addresses := map[string]string{}
			for _, listener := range list.Statuses {
				addresses[listener.Name] = fmt.Sprintf("127.0.0.1:%d", listener.Address.Socket.Port)
			}
			return addresses
		}
	}
	_ = e.process.Process.Kill()
	panic("Envoy does not serve:\n" + e.log.String())
}

// stop ends Envoy in order, and returns the exit code of the tests.
func (e *envoy) stop() int {
	check(e.process.Process.Signal(os.Interrupt))
	if err := e.process.Wait(); err != nil {
		fmt.Printf("expected Envoy to end in order, got %v:\n%s", err, e.log)
		return 1
	}
	return 0
}

// request is what the upstream has received, its answer's body.
type request struct {
	Path, Body string
	Header     http.Header
}

func serveUpstream(w http.ResponseWriter, r *http.Request) {
	if early := r.URL.Query().Get("early"); early != "" {
		check(http.NewResponseController(w).EnableFullDuplex())
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
	}
	body, _ := io.ReadAll(r.Body)
	if r.URL.Query().Has("storm") {
		time.Sleep(rand.N(3 * time.Millisecond))
		_, _ = w.Write(make([]byte, rand.N(200_000)))
		return
	}
	w.Header().Set("x-upstream", "yes")
	_ = json.NewEncoder(w).Encode(request{r.URL.RequestURI(), string(body), r.Header})
}

// answer is an answer whose body has been read.
type answer struct {
	*http.Response
	body string
}

// received is the request that the upstream has received.
func (a answer) received(t *testing.T) (r request) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatalf("expected the upstream's answer, got %d %q", a.StatusCode, a.body)
	}
	return r
}

func (e *envoy) send(t *testing.T, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	return e.sendTo(t, e.address, method, path, body, headers...)
}

func (e *envoy) sendTo(t *testing.T, address, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, body)
	check(err)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%v; Envoy's log: %s", err, e.log)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(text)}
}

// both runs a test with a chain that runs on the worker, and with one that runs in a goroutine.
func both(t *testing.T, chain string, test func(t *testing.T, path string)) {
	for _, id := range []string{chain, "late-" + chain} {
		t.Run(id, func(t *testing.T) { test(t, "/"+id+"/x") })
	}
}

func TestHeadersAreChanged(t *testing.T) {
	both(t, "headers", func(t *testing.T, path string) {
		got := shared.send(t, "POST", path, strings.NewReader("body"), "x-removed", "yes", "x-appended", "first")
		received := got.received(t)
		if received.Path != "/moved" || received.Body != "body" || received.Header.Get("x-removed") != "" ||
			!slices.Equal(received.Header["X-Set"], []string{"one", "two"}) || !slices.Equal(received.Header["X-Appended"], []string{"first", "more"}) {
			t.Errorf("the upstream received %+v", received)
		}
		if got.StatusCode != 202 || got.Header.Get("x-upstream") != "" || got.Header.Get("x-seen") != "é" {
			t.Errorf("the client received %d %v", got.StatusCode, got.Header)
		}
	})
}

// TestAHeaderWithoutAValueIsRemoved: Envoy's ABI has no other meaning of an empty value. By ext_proc the header is there, and
// empty.
func TestAHeaderWithoutAValueIsRemoved(t *testing.T) {
	received := shared.send(t, "GET", "/empty-header/x", nil, "x-set", "before").received(t)
	if values, there := received.Header["X-Set"]; there {
		t.Errorf("expected no header, got %q", values)
	}
}

func TestARequestWithoutAResponsePhase(t *testing.T) {
	both(t, "request-only", func(t *testing.T, path string) {
		if got := shared.send(t, "GET", path, nil); got.StatusCode != 200 || got.received(t).Path != "/moved" {
			t.Errorf("expected 200 from /moved, got %d %s", got.StatusCode, got.body)
		}
	})
}

func TestAnswersOfPolicies(t *testing.T) {
	for _, chain := range []string{"answer", "answer-response"} {
		both(t, chain, func(t *testing.T, path string) {
			got := shared.send(t, "POST", path, strings.NewReader("body"))
			if got.StatusCode != 418 || got.body != "tea" || got.Header.Get("content-type") != "text/tea" || !slices.Equal(got.Header["Set-Cookie"], []string{"a=1", "b=2"}) {
				t.Errorf("got %d %q %v", got.StatusCode, got.body, got.Header)
			}
		})
	}
}

// TestAnAnswerToAGRPCClient has in its headers the status of gRPC that 418 is for the ext_proc filter: UNKNOWN.
func TestAnAnswerToAGRPCClient(t *testing.T) {
	both(t, "answer", func(t *testing.T, path string) {
		got := shared.send(t, "POST", path, strings.NewReader(""), "content-type", "application/grpc")
		if got.StatusCode != 200 || got.Header.Get("grpc-status") != "2" || got.Header.Get("grpc-message") != "tea" {
			t.Errorf("got %d %v", got.StatusCode, got.Header)
		}
	})
}

func TestAPolicyThatPanicsFailsItsExchangeAlone(t *testing.T) {
	for _, chain := range []string{"panic", "panic-response"} {
		both(t, chain, func(t *testing.T, path string) {
			got := shared.send(t, "GET", path, nil)
			if got.StatusCode != 500 || got.Header.Get("content-type") != "application/problem+json" {
				t.Errorf("got %d %q", got.StatusCode, got.body)
			}
		})
	}
	if got := shared.send(t, "GET", "/late-leave-its-process/x", nil); got.StatusCode != 500 {
		t.Errorf("runtime.Goexit: got %d %q", got.StatusCode, got.body)
	}
	if got := shared.send(t, "GET", "/no-such-chain/x", nil); got.StatusCode != 503 {
		t.Errorf("an unknown chain: got %d %q", got.StatusCode, got.body)
	}
}

func TestBodiesAreReplaced(t *testing.T) {
	both(t, "replace", func(t *testing.T, path string) {
		for _, body := range []string{"", "old", strings.Repeat("long ", 100_000)} {
			if got := shared.send(t, "POST", path, strings.NewReader(body)); got.StatusCode != 200 || got.body != "new response" {
				t.Errorf("a body of %d bytes: got %d %.80q", len(body), got.StatusCode, got.body)
			}
		}
	})
}

func TestAnalyticsOfBothPhasesReachTheAccessLog(t *testing.T) {
	both(t, "analytics", func(t *testing.T, path string) {
		path += "?" + strings.ReplaceAll(t.Name(), "/", "-")
		shared.send(t, "GET", path, nil)
		line := shared.logged(t, path)
		want := map[string]any{"first": "one", "list": []any{1.0, "two"}, "second": true}
		if got, _ := json.Marshal(line["analytics"]); string(got) != marshal(want) {
			t.Errorf("expected %s, got %s", marshal(want), got)
		}
	})
}

func marshal(value any) string {
	text, err := json.Marshal(value)
	check(err)
	return string(text)
}

// logged waits for the access log's line of a path.
func (e *envoy) logged(t *testing.T, path string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(e.accessLog)
		check(err)
		for line := range strings.Lines(string(text)) {
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["path"] == path {
				return entry
			}
		}
	}
	t.Fatalf("expected a line of %s in the access log, got none", path)
	return nil
}

// TestARefusalBeforeTheEngine: Envoy's answers to requests that the module has not seen.
func TestARefusalBeforeTheEngine(t *testing.T) {
	both(t, "headers", func(t *testing.T, path string) {
		if got := shared.send(t, "GET", path, nil, "x-refuse", "yes"); got.StatusCode != 403 {
			t.Errorf("expected 403, got %d %q", got.StatusCode, got.body)
		}
	})
}

// TestTheResponseComesBeforeTheRequestHasEnded: the body goes on while the response's headers wait for their policy, and the
// response goes on after that (https://github.com/envoyproxy/envoy/pull/46439).
func TestTheResponseComesBeforeTheRequestHasEnded(t *testing.T) {
	for _, id := range []string{"analytics", "late-analytics", "slow-analytics"} {
		t.Run(id, func(t *testing.T) {
			from, to := io.Pipe()
			go func() {
				for range 20 { // for longer than the slow policy waits with the response
					_, _ = to.Write([]byte("piece "))
					time.Sleep(120 * time.Millisecond)
				}
				_ = to.Close()
			}()
			got := shared.send(t, "POST", "/"+id+"/x?early=1", from)
			if body := got.received(t).Body; got.StatusCode != 200 || len(body) != 20*len("piece ") {
				t.Errorf("expected all of the body, got %d %q", got.StatusCode, body)
			}
		})
	}
}

// TestEnvoyAnswersWhileAPolicyWaits: the request takes too long for Envoy (request_timeout of the listener "hurried"). The
// policy, which waits with the request or has let it go on, sees that answer.
func TestEnvoyAnswersWhileAPolicyWaits(t *testing.T) {
	for _, id := range []string{"headers", "late-headers", "slow-headers"} {
		t.Run(id, func(t *testing.T) {
			from, to := io.Pipe()
			defer func() { _ = to.Close() }()
			got := shared.sendTo(t, shared.hurried, "POST", "/"+id+"/x", from)
			if got.StatusCode != 202 || got.Header.Get("x-seen") != "é" || !strings.Contains(got.body, "timeout") { // made of 408
				t.Errorf("got %d %v %q", got.StatusCode, got.Header, got.body)
			}
		})
	}
}
