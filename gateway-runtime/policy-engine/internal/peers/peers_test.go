package peers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logtest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("CONNECT_TO"); path != "" {
		os.Exit(connect(path))
	}
	goleak.VerifyTestMain(m)
}

// connect prints what a socket sends: other tests run it in another process.
func connect(path string) int {
	if os.Getenv("BELOW") != "" { // a process further down
		command := exec.CommandContext(context.Background(), os.Args[0]) //nolint:gosec // this program
		command.Env, command.Stdout = []string{"CONNECT_TO=" + path}, os.Stdout
		_ = command.Run()
		return 0
	}
	connection, err := new(net.Dialer).DialContext(context.Background(), "unix", path)
	if err != nil {
		return 1
	}
	if os.Getenv("LEAVES") == "" {
		_, _ = io.Copy(os.Stdout, connection)
	}
	return 0
}

type socket struct {
	t          *testing.T
	path, file string
	log        *logtest.Log
	guard      *guardedListener
}

// serve greets admitted peers, and soon gives up on others.
func serve(t *testing.T, roles []string, outside bool) *socket {
	return serveRetrying(t, roles, outside, 300*time.Millisecond)
}

func serveRetrying(t *testing.T, roles []string, outside bool, retryFor time.Duration) *socket {
	folder := t.TempDir()
	s := &socket{t: t, path: filepath.Join(folder, "s"), file: filepath.Join(folder, "peers.json"), log: &logtest.Log{}}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	rule := Rule{File: s.file, Roles: roles, Outside: outside}
	guard := Listen(listener.(*net.UnixListener), rule, slog.New(slog.NewTextHandler(s.log, nil)))
	s.guard = guard.(*guardedListener)
	s.guard.retryFor = retryFor
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			connection, err := guard.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte("hello"))
			_ = connection.Close()
		}
	}()
	t.Cleanup(func() { _ = guard.Close(); <-served })
	return s
}

// awaitRetry returns once a connection was not admitted, and is checked again.
func (s *socket) awaitRetry() {
	await.Until(s.t, "a connection is checked again", func() bool { return len(s.guard.retrying) > 0 })
}

func (s *socket) known(pids map[string]int) {
	content, _ := json.Marshal(pids) //nolint:errchkjson // it is a map of numbers
	if err := os.WriteFile(s.file+".new", content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		s.t.Fatal(err)
	}
}

// hears returns what another process receives, a child of this one, or a grandchild.
func (s *socket) hears(more ...string) string {
	command := exec.CommandContext(s.t.Context(), os.Args[0]) //nolint:gosec // this program
	command.Env = append([]string{"CONNECT_TO=" + s.path}, more...)
	got, err := command.Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(got)
}

// here returns what this process receives.
func (s *socket) here() string {
	connection, err := new(net.Dialer).DialContext(s.t.Context(), "unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	got, _ := io.ReadAll(connection)
	return string(got)
}

func TestOnlyAProcessWithTheRoleIsAdmitted(t *testing.T) {
	s := serve(t, []string{Envoy}, false)
	s.known(map[string]int{Supervisor: os.Getppid(), Envoy: os.Getpid()})
	if got := s.here(); got != "hello" {
		t.Errorf("expected to be let in, got %q and %s", got, s.log.String())
	}
	if got := s.hears(); got != "" {
		t.Errorf("expected another process to be refused, got %q", got)
	}
	if log := s.log.String(); strings.Count(log, "connection refused") != 1 || !strings.Contains(log, s.path) {
		t.Errorf("expected one warning that names the socket, got %s", log)
	}
}

func TestASecondProcessOfARoleIsAdmitted(t *testing.T) {
	s := serve(t, []string{Envoy}, false)
	s.known(map[string]int{Supervisor: os.Getppid(), Envoy: 1, Envoy + ".2": os.Getpid()})
	if got := s.here(); got != "hello" {
		t.Errorf("expected to be let in, got %q and %s", got, s.log.String())
	}
}

func TestAProcessMayBeNewerThanTheFileThatNamesIt(t *testing.T) {
	s := serveRetrying(t, []string{Envoy}, false, time.Hour)
	s.known(map[string]int{Envoy: 1})
	received := make(chan string)
	go func() { received <- s.here() }()
	s.awaitRetry()
	s.known(map[string]int{Envoy: os.Getpid()})
	if got := <-received; got != "hello" {
		t.Errorf("expected to be let in then, got %q and %s", got, s.log.String())
	}
}

func TestARetriedConnectionDelaysNoOther(t *testing.T) {
	s := serveRetrying(t, []string{Envoy}, false, time.Hour)
	s.known(map[string]int{Envoy: os.Getpid()})
	refused := make(chan string)
	go func() { refused <- s.hears() }()
	s.awaitRetry()
	for range 10 {
		if got := s.here(); got != "hello" {
			t.Fatalf("expected to be let in, got %q", got)
		}
	}
	if len(s.guard.retrying) != 1 {
		t.Fatal("expected the other one to be checked again meanwhile")
	}
	_ = s.guard.Close()
	if got := <-refused; got != "" {
		t.Errorf("expected the other one to be refused in the end, got %q", got)
	}
}

func TestProcessesOutsideOfTheSupervisorAreAdmitted(t *testing.T) {
	s := serve(t, []string{Supervisor}, true)
	for _, c := range []struct {
		name       string
		supervisor int
		received   string
	}{{"below another one", 1 << 30, "hello"}, {"below it", os.Getpid(), ""}, {"without a known supervisor", 0, ""}} {
		s.known(map[string]int{Supervisor: c.supervisor})
		for _, more := range [][]string{nil, {"BELOW=1"}} {
			if got := s.hears(more...); got != c.received {
				t.Errorf("%s %v: expected %q, got %q and %s", c.name, more, c.received, got, s.log.String())
			}
		}
	}
	s.known(map[string]int{Supervisor: os.Getpid()})
	if got := s.here(); got != "hello" {
		t.Errorf("expected the supervisor itself to be let in, got %q", got)
	}
}

// Its pid may belong to another process then.
func TestAnEndedProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	s := &socket{t: t, path: path, file: path + ".json", log: &logtest.Log{}}
	s.known(map[string]int{Supervisor: 1 << 30})
	rule := Rule{File: s.file, Outside: true}
	for _, c := range []struct{ leaves, why string }{{"LEAVES=1", "has ended"}, {"STAYS=1", ""}} {
		command := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this program
		command.Env = []string{"CONNECT_TO=" + path, c.leaves}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		connection, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c.why != "" {
			_ = command.Wait()
			s.known(map[string]int{Envoy: command.Process.Pid})
			rule.Roles = []string{Envoy}
		}
		pid, why := rule.refusal(connection.(*net.UnixConn))
		if pid != command.Process.Pid || (why == nil) != (c.why == "") || why != nil && !strings.Contains(why.Error(), c.why) {
			t.Errorf("%s: expected %d and %q, got %d and %v", c.leaves, command.Process.Pid, c.why, pid, why)
		}
		_ = connection.Close()
		rule.Roles = nil
		s.known(map[string]int{Supervisor: 1 << 30})
		if c.why == "" {
			_ = command.Wait()
		}
	}
}

func TestWithoutTheFileNoProcessIsAdmitted(t *testing.T) {
	s := serve(t, []string{Supervisor}, true)
	if got := s.here(); got != "" || !strings.Contains(s.log.String(), "peers.json") {
		t.Errorf("expected a refusal that names the file, got %q and %s", got, s.log.String())
	}
}

func TestAHiddenProcessDiffersFromAnEndedOne(t *testing.T) {
	proc = t.TempDir() + "/"
	defer func() { proc = "/proc/" }()
	if _, err := parentOf(os.Getpid()); err == nil || !strings.Contains(err.Error(), "without hidepid") {
		t.Errorf("expected hidepid to be named, got %v", err)
	}
	ended := exec.CommandContext(t.Context(), "true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := parentOf(ended.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("expected the process to be gone, got %v", err)
	}
}

// TestTheGoldenFileIsRead reads the file that the supervisor's tests compare with.
func TestTheGoldenFileIsRead(t *testing.T) {
	known, err := readPeers("../../../../conformance/messages/peers.json")
	if err != nil || known[Supervisor] == 0 || known[Envoy] == 0 || known["controller"] == 0 {
		t.Errorf("expected supervisor, Envoy and controller, got %v, %v", known, err)
	}
}
