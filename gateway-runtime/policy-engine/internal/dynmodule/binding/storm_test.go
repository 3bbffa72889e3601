package binding_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
)

// clients is the number of clients of a storm at a time.
const clients = 64

// stormChains are those that the clients ask for: on the worker and in goroutines, with and without a response phase.
var stormChains = []string{"headers", "late-headers", "late-headers", "late-request-only", "late-answer", "late-answer-response", "late-replace", "late-panic-response"}

// rounds is the number of requests of each client: 5, or STORM_ROUNDS (200 take some minutes).
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("STORM_ROUNDS")
	if text == "" {
		return 5
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("STORM_ROUNDS: expected a number, got %q", text)
	}
	return count
}

// TestCancelStorm has clients leave at any point: while they send the request, while its policy or the upstream waits, while the
// response's policy waits, while its body is under way.
func TestCancelStorm(t *testing.T) {
	for _, protocol := range []struct {
		name string
		once func(chain string, leaves time.Duration) error
	}{{"HTTP1", leaveHTTP1}, {"HTTP2", leaveHTTP2()}} {
		t.Run(protocol.name, func(t *testing.T) {
			storm(t, 3, protocol.once) // what grows once has grown
			before := shared.quiet(t)
			memory := shared.memory(t)
			storm(t, rounds(t), protocol.once)
			after := shared.quiet(t)
			t.Logf("%d exchanges, %d cancelled; goroutines %d → %d, memory of Envoy's process %d → %d MiB", after.Exchanges-before.Exchanges,
				after.Cancelled-before.Cancelled, before.Goroutines, after.Goroutines, memory>>20, shared.memory(t)>>20)
			if after.Cancelled == before.Cancelled || after.Goroutines > before.Goroutines+8 {
				t.Errorf("expected exchanges that are cancelled and leave nothing, got %+v after %+v", after, before)
			}
			if grown := shared.memory(t) - memory; grown > 128<<20 {
				t.Errorf("expected memory that stays, got %d MiB more", grown>>20)
			}
			if got := shared.send(t, "GET", "/headers/x", nil); got.StatusCode != http.StatusAccepted {
				t.Errorf("after the storm: got %d %q", got.StatusCode, got.body)
			}
		})
	}
}

func storm(t *testing.T, rounds int, once func(chain string, leaves time.Duration) error) {
	t.Helper()
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for range rounds {
				chain := stormChains[rand.IntN(len(stormChains))]
				if err := once(chain, rand.N(12*time.Millisecond)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}

// leaveHTTP1 sends a request in pieces, and closes the connection after a time. An error is one of connecting.
func leaveHTTP1(chain string, leaves time.Duration) error {
	connection, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", shared.address)
	if err != nil {
		return err
	}
	if tcp, ok := connection.(*net.TCPConn); ok && rand.IntN(2) == 0 {
		_ = tcp.SetLinger(0) // by a reset
	}
	timer := time.AfterFunc(leaves, func() { _ = connection.Close() })
	defer timer.Stop()
	body := strings.Repeat("body ", rand.IntN(4000))
	text := fmt.Sprintf("POST /%s/x?storm=1 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%s", chain, len(body), body)
	for len(text) > 0 {
		piece := min(len(text), 1+rand.IntN(4000))
		if _, err := io.WriteString(connection, text[:piece]); err != nil {
			return nil
		}
		text = text[piece:]
		if rand.IntN(4) == 0 {
			time.Sleep(rand.N(time.Millisecond))
		}
	}
	if response, err := http.ReadResponse(bufio.NewReader(connection), nil); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	return nil
}

// leaveHTTP2 returns a function that sends requests on shared connections, and resets their streams after a time.
func leaveHTTP2() func(chain string, leaves time.Duration) error {
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &http2}}
	return func(chain string, leaves time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), leaves)
		defer cancel()
		body := &trickle{left: rand.IntN(20_000)}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+shared.address+"/"+chain+"/x?storm=1", body)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		return nil
	}
}

// trickle is a body that comes piece by piece.
type trickle struct{ left int }

func (r *trickle) Read(into []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if rand.IntN(4) == 0 {
		time.Sleep(rand.N(time.Millisecond))
	}
	piece := min(len(into), r.left, 1+rand.IntN(4000))
	r.left -= piece
	return piece, nil
}

// moduleStats are what the module's chain "stats" answers.
type moduleStats struct {
	Streams, Goroutines  int
	Active               int64
	Exchanges, Cancelled uint64
}

// quiet waits until the module has no stream but the one that asks, and its goroutines have ended.
func (e *envoy) quiet(t *testing.T) (stats moduleStats) {
	t.Helper()
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		answer := e.send(t, "GET", "/stats/x", nil)
		if err := json.Unmarshal([]byte(answer.body), &stats); err != nil {
			t.Fatalf("expected statistics, got %d %q", answer.StatusCode, answer.body)
		}
		if stats.Streams == 0 && stats.Active == 1 {
			return stats
		}
	}
	t.Fatalf("expected no stream of clients that have left, got %+v", stats)
	return stats
}

// memory is the resident memory of Envoy's process.
func (e *envoy) memory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", e.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
