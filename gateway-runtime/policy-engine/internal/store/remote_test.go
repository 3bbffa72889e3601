package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// server is a Valkey, or a Redis, of this machine.
type server struct {
	binary, port string
	options      []string
	process      *exec.Cmd
}

// requiredByEnvironment has these tests fail where there is no server to test with.
const requiredByEnvironment = "VALKEY_REQUIRED"

func startServer(t *testing.T, options ...string) *server {
	t.Helper()
	s := newServer(t)
	s.options = options
	s.start(t)
	return s
}

// newServer has a port, and is to be started.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	for _, name := range []string{os.Getenv("VALKEY_SERVER"), "valkey-server", "redis-server"} {
		if path, err := exec.LookPath(name); err == nil && name != "" {
			s.binary = path
			break
		}
	}
	if s.binary == "" {
		if os.Getenv(requiredByEnvironment) != "" {
			t.Fatal("expected valkey-server or redis-server in PATH, or its path in VALKEY_SERVER; found none")
		}
		t.Skip("there is neither valkey-server nor redis-server on this machine")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	arguments := append([]string{"--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}, s.options...)
	s.process = exec.CommandContext(context.WithoutCancel(t.Context()), s.binary, arguments...)
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

func (s *server) settings() *nodev1.ValkeyStore {
	return &nodev1.ValkeyStore{Address: "127.0.0.1:" + s.port, Prefix: "test:", TimeoutMs: 60_000}
}

func remoteStore(t *testing.T, settings *nodev1.ValkeyStore) *Store {
	t.Helper()
	s := New(slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(s.Close)
	s.Apply(&nodev1.Store{Valkey: settings})
	await.Until(t, "it is connected", func() bool { return s.Standing() == nil })
	return s
}

func TestValkeyConforms(t *testing.T) {
	s := remoteStore(t, startServer(t).settings())
	now := time.Duration(0)
	r := s.remote.Load()
	r.fixedTime = func() time.Duration { return now }
	conforms(t, s, func(t *testing.T, space string, by time.Duration) {
		now += by
		endSooner(t, *r.client.Load(), "test:"+space, by)
	})
}

// endSooner has all values whose keys begin so end by so much sooner, in whole seconds: as if that time had passed, and no
// other.
func endSooner(t *testing.T, client valkey.Client, prefix string, by time.Duration) {
	t.Helper()
	script := valkey.NewLuaScript(`
for _, key in ipairs(redis.call('KEYS', '*')) do
  if string.sub(key, 1, #ARGV[1]) == ARGV[1] and (string.find(key, ':k:', 1, true) or string.find(key, ':b:', 1, true)) then
    local left = math.ceil(redis.call('PTTL', key) / 1000) * 1000 - ARGV[2]
    if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
  end
end
return 1`)
	if err := script.Exec(t.Context(), client, nil, []string{prefix, fmt.Sprint(by.Milliseconds())}).Error(); err != nil {
		t.Fatal(err)
	}
}

func TestABudgetHoldsForManyNodesAtOnce(t *testing.T) {
	server := startServer(t)
	reservesFromManyAtOnce(t, remoteStore(t, server.settings()).Of("p", "a"), remoteStore(t, server.settings()).Of("p", "a"))
}

func TestWritesOfAnotherNodeAreSeen(t *testing.T) {
	server := startServer(t)
	view, other := remoteStore(t, server.settings()).Of("p", "a"), remoteStore(t, server.settings())
	fill(t, view, "k", 1)
	if !has(t, other.Of("p", "a"), "k0") || has(t, other.Of("p", "b"), "k0") {
		t.Error("expected the other node to see the key at this API, and at no other")
	}
	elsewhere := server.settings()
	elsewhere.Prefix = "staging:"
	if has(t, remoteStore(t, elsewhere).Of("p", "a"), "k0") {
		t.Error("expected another prefix to have keys of its own")
	}
}

func unavailable(err error) bool {
	failure, ok := errors.AsType[*v1alpha.Failure](err)
	return ok && failure.Class == v1alpha.ClassUnavailable
}

// overAllConnections is a number of calls that uses each connection of a client at least once, except for one run in 10^7.
const overAllConnections = 64

func TestCallsFailAtOnceWhileTheServerIsAway(t *testing.T) {
	server := startServer(t)
	s := remoteStore(t, server.settings())
	view := s.Of("p", "a")
	fill(t, view, "k", overAllConnections)
	server.kill()
	await.Until(t, "it is known to be away", func() bool { return s.Standing() != nil })
	for range 1000 { // if each waited for its timeout, this would be hours
		if _, _, err := view.Get(t.Context(), "k0"); !unavailable(err) {
			t.Fatalf("expected a failure of class unavailable, got %v", err)
		}
	}
	server.start(t)
	await.Until(t, "it is back", func() bool { return s.Standing() == nil })
	fill(t, view, "k", overAllConnections)
}

func TestAServerThatHangsIsAway(t *testing.T) {
	server := startServer(t)
	settings := server.settings()
	settings.TimeoutMs = 50 // which a busy machine may need for a call of a server that does not hang
	s := remoteStore(t, settings)
	view := s.Of("p", "a")
	await.Until(t, "a value is written", func() bool {
		_, err := view.Set(t.Context(), "k0", []byte("v"), time.Hour, false)
		return err == nil
	})
	_ = server.process.Process.Signal(syscall.SIGSTOP)
	await.Until(t, "calls fail at once", func() bool {
		_, _, err := view.Get(t.Context(), "k0")
		return unavailable(err) && s.Standing() != nil
	})
	_ = server.process.Process.Signal(syscall.SIGCONT)
	await.Until(t, "it is back", func() bool { return s.Standing() == nil })
}

func TestAServerMayStartLater(t *testing.T) {
	server := startServer(t)
	server.kill()
	s := New(slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(s.Close)
	s.Apply(&nodev1.Store{Valkey: server.settings()})
	if _, _, err := s.Of("p", "a").Get(t.Context(), "k"); !unavailable(err) {
		t.Fatalf("expected a failure of class unavailable, got %v", err)
	}
	server.start(t)
	await.Until(t, "it is there", func() bool { return s.Standing() == nil })
	s.Apply(nil)
	fill(t, s.Of("p", "a"), "k", 1)
	if s.memory.entries.Load() != 1 {
		t.Error("expected entries in memory once the Gateway names no Valkey")
	}
}

func TestRefusalsOfTheServer(t *testing.T) {
	server := startServer(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	s := remoteStore(t, server.settings())
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = s.Of("p", "a").Set(t.Context(), fmt.Sprint(i), make([]byte, 1<<20), time.Hour, false)
	}
	if !errors.Is(err, v1alpha.ErrStoreFull) || !unavailable(err) {
		t.Errorf("expected that the store is full, got %v", err)
	}
}

func TestUserAndPassword(t *testing.T) {
	server := startServer(t, strings.Fields("--user gatewright on >right ~test:* "+permissions(t)+" --user default off")...)
	settings := server.settings()
	settings.User, settings.PasswordFile = "gatewright", filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(settings.PasswordFile, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(s.Close)
	s.Apply(&nodev1.Store{Valkey: settings})
	await.Until(t, "the wrong password is refused", func() bool {
		err := s.Standing()
		return err != nil && strings.Contains(err.Error(), "WRONGPASS")
	})
	if err := os.WriteFile(settings.PasswordFile, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the right one is read", func() bool { return s.Standing() == nil })
	view := s.Of("p", "a")
	fill(t, view, "k", 1)
	has(t, view, "k0")
	_, increment := view.Increment(t.Context(), "n", 1, time.Hour)
	_, expire := view.Expire(t.Context(), "n", time.Hour)
	_, deleted := view.Delete(t.Context(), "n")
	_, throttle := view.Throttle(t.Context(), "t", v1alpha.Limit{Rate: 1, Per: time.Second}, 1)
	if err := errors.Join(increment, expire, deleted, throttle); err != nil {
		t.Error(err)
	}
}

// permissions are the commands that the how-to lists as sufficient.
func permissions(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/how-to/store.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "~production:*` and `")
	listed, _, found := strings.Cut(after, "`")
	if !found {
		t.Fatal("expected the how-to to list what the user may do")
	}
	return listed
}
