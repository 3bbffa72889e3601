package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
)

// TestMain finds leaked goroutines. Those of fasthttp's pools stop within 10 s; those of its clock and address list never do.
func TestMain(m *testing.M) {
	(&fasthttp.ResponseHeader{}).Header() // starts fasthttp's clock outside of any test's bubble
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*TCPDialer).tcpAddrsClean"))
}

// startUpstream serves on a free port until the test ends and returns its address.
func startUpstream(t *testing.T, expected string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "expect.json")
	if err := os.WriteFile(file, []byte(expected), 0o600); err != nil {
		t.Fatal(err)
	}
	expectations, err := readExpectations(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serveUpstream(ctx, "127.0.0.1:0", expectations, writer) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(line)[1]
}

func TestUpstreamAssertsHeaders(t *testing.T) {
	address := startUpstream(t, `{"/go": {"X-First": "1", "X-Second": "2"}, "/plain": {}}`)
	for _, c := range []struct {
		name, path string
		headers    map[string]string
		status     int
		body       string
	}{
		{"all there", "/go/orders/1", map[string]string{"x-first": "1", "x-second": "2"}, 200, answer},
		{"one missing", "/go/orders/1", map[string]string{"X-First": "1"}, 418, `expected header X-Second: 2, got ""`},
		{"wrong value", "/go", map[string]string{"X-First": "1", "X-Second": "3"}, 418, `expected header X-Second: 2, got "3"`},
		{"none wanted", "/plain/x", nil, 200, answer},
		{"unlisted path", "/gone/x", nil, 418, "nothing is expected at /gone/x"},
		{"root", "/", nil, 418, "nothing is expected at /"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := get(t, "http://"+address+c.path, c.headers)
			if status != c.status || body != c.body {
				t.Errorf("expected %d %q, got %d %q", c.status, c.body, status, body)
			}
		})
	}
}

func get(t *testing.T, url string, headers map[string]string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestErrorsOfExpectationsNameTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "expect.json")
	if err := os.WriteFile(file, []byte(`["/go"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + ".gone"} {
		if _, err := readExpectations(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("expected an error that names %s, got %v", path, err)
		}
	}
}

func TestUpstreamReportsTheSizeOfABody(t *testing.T) {
	address := startUpstream(t, `{"/body": {}}`)
	for body, want := range map[string]string{"": "", strings.Repeat("x", 10000): "10000"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/body/1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := new(http.Client).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("X-Received-Bytes"); got != want {
			t.Errorf("body of %d bytes: expected %q, got %q", len(body), want, got)
		}
	}
}
