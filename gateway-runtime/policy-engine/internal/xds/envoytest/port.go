package envoytest

import (
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// FreePort returns a port that is free, below those of outgoing connections (32768 and above) and those that runs choose by
// themselves (20000 and above), and that no other test has been given, for Envoy needs some time until it listens. Its twin is
// free_port of the end-to-end tests, with the same file of claims.
func FreePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(10_000) //nolint:gosec // no secret
		if isFree(t, port) && claim(t, port) {
			return port
		}
	}
	t.Fatal("expected a free port from 10000 to 19999, got none in 1000 tries")
	return 0
}

func isFree(t *testing.T, port int) bool {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

var claims struct {
	mu   sync.Mutex
	file *os.File // every process of tests locks a byte of it for each of its ports
	own  map[int]bool
}

// claim reports whether no test on this machine has the port. This process has it from now on, until it ends.
func claim(t *testing.T, port int) bool {
	t.Helper()
	claims.mu.Lock()
	defer claims.mu.Unlock()
	if claims.file == nil {
		file, err := os.OpenFile(filepath.Join(os.TempDir(), "gatewright-test-ports"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		claims.file, claims.own = file, map[int]bool{}
	}
	if claims.own[port] {
		return false
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: int64(port), Len: 1}
	if syscall.FcntlFlock(claims.file.Fd(), syscall.F_SETLK, &lock) != nil {
		return false
	}
	claims.own[port] = true
	return true
}
