package metrics_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/policy-engine/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// freePort returns a free port of 127.0.0.1, which most likely stays free during the test.
func freePort(t *testing.T) int {
	t.Helper()
	taken := take(t)
	defer func() { _ = taken.Close() }()
	return taken.Addr().(*net.TCPAddr).Port
}

func take(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func newListener(t *testing.T) (*metrics.Listener, *logtest.Log) {
	t.Helper()
	log := &logtest.Log{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("here")) })
	listener := metrics.NewListener(handler, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(listener.Close)
	return listener, log
}

// answers asks at an address by a connection of its own.
func answers(t *testing.T, at string) bool {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+at+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return err == nil && string(body) == "here"
}

func TestAListenerMovesWithTheGateway(t *testing.T) {
	listener, log := newListener(t)
	if listener.Actual() != "" {
		t.Errorf("expected it to listen nowhere, got %s", listener.Actual())
	}
	listener.Listen(&metrics.Address{IP: "127.0.0.1", Port: freePort(t)})
	first := listener.Actual()
	if !answers(t, first) {
		t.Fatalf("expected an answer at %q: %s", first, log)
	}
	listener.Listen(&metrics.Address{IP: "127.0.0.1", Port: freePort(t)})
	second := listener.Actual()
	if second == first || !answers(t, second) || answers(t, first) {
		t.Errorf("expected it to have moved from %s, got %s: %s", first, second, log)
	}
	listener.Listen(nil)
	if listener.Actual() != "" || answers(t, second) {
		t.Errorf("expected it to have ended, got %q", listener.Actual())
	}
}

func TestAPortThatIsTakenLeavesTheListenerWhereItWas(t *testing.T) {
	listener, log := newListener(t)
	listener.Listen(&metrics.Address{IP: "127.0.0.1", Port: freePort(t)})
	first := listener.Actual()
	taken := take(t)
	defer func() { _ = taken.Close() }()
	address := &metrics.Address{IP: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port}
	listener.Listen(address)
	if listener.Actual() != first || !answers(t, first) {
		t.Errorf("expected %s, got %q", first, listener.Actual())
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "address already in use") ||
		!strings.Contains(log.String(), "choose another spec.admin.port") {
		t.Errorf("expected the reason and the cure, got %s", log)
	}
	_ = taken.Close()
	listener.Listen(address) // the Gateway is applied again
	if listener.Actual() != taken.Addr().String() {
		t.Errorf("expected %s, got %q", taken.Addr(), listener.Actual())
	}
}

// TestAnotherAddressOfTheSamePort: both cannot listen at once, and the first comes back if the second cannot listen.
func TestAnotherAddressOfTheSamePort(t *testing.T) {
	listener, log := newListener(t)
	port := freePort(t)
	listener.Listen(&metrics.Address{IP: "127.0.0.1", Port: port})
	first := listener.Actual()
	listener.Listen(&metrics.Address{IP: "192.0.2.1", Port: port}) // of documentation: no machine has it
	if listener.Actual() != first || !answers(t, first) || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("expected %s, got %q: %s", first, listener.Actual(), log)
	}
	listener.Listen(&metrics.Address{IP: "0.0.0.0", Port: port})
	if !answers(t, first) || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "other machines") {
		t.Errorf("expected it to answer at all addresses, and a warning, got %q: %s", listener.Actual(), log)
	}
}

// TestWithoutAPortAnyFreeOneIsUsed if the default one is taken.
func TestWithoutAPortAnyFreeOneIsUsed(t *testing.T) {
	first, _ := newListener(t)
	other, _ := newListener(t)
	first.Listen(&metrics.Address{IP: "127.0.0.1"})
	other.Listen(&metrics.Address{IP: "127.0.0.1"})
	if first.Actual() == other.Actual() || !answers(t, first.Actual()) || !answers(t, other.Actual()) {
		t.Errorf("expected two addresses, got %q and %q", first.Actual(), other.Actual())
	}
}

// TestAPageOfAnotherNameIsRefused: a browser sends such requests if a page's name resolves to 127.0.0.1.
func TestAPageOfAnotherNameIsRefused(t *testing.T) {
	for address, statuses := range map[string]map[string]int{
		"127.0.0.1": {"127.0.0.1:9": 200, "localhost:9": 200, "[::1]:9": 200, "localhost": 200, "page.example:9": 403, "page.example": 403,
			"127.0.0.1.page.example": 403, "192.0.2.1": 403},
		"0.0.0.0": {"node.example:9": 200},
	} {
		listener, _ := newListener(t)
		listener.Listen(&metrics.Address{IP: address, Port: freePort(t)})
		_, port, err := net.SplitHostPort(listener.Actual())
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range statuses {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = host
			response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s asked as %s: expected %d, got %d", address, host, want, response.StatusCode)
			}
		}
	}
}
