package auditlog_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	auditlog "gatewright.dev/policies/audit-log"
	"gatewright.dev/sdk/policy/v1alpha"
)

const (
	folderVariable = "AUDIT_LOG_FOLDER"
	limitVariable  = "AUDIT_LOG_LIMIT"
	moreVariable   = "AUDIT_LOG_PARAMS"
)

// TestMain is also the main function of writer processes that tests start.
func TestMain(m *testing.M) {
	if folder := os.Getenv(folderVariable); folder != "" {
		os.Exit(write(folder))
	}
	os.Exit(m.Run())
}

// write appends 500 lines of different lengths, up to a limit of the file's size if there is one, and prints how many
// exchanges were refused and how many lines the counter has as lost.
func write(folder string) int {
	if limit, err := strconv.ParseUint(os.Getenv(limitVariable), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ) // like a full disk: a part is written, then the write fails
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return 2
		}
	}
	about := metadata(folder)
	policy, err := auditlog.GetPolicy(about, params(`"requestHeaders": ["x-a"], `+os.Getenv(moreVariable)))
	if err != nil {
		return 3
	}
	refused := 0
	for n := range 500 {
		req := request(v1alpha.Header{Name: "x-a", Value: strings.Repeat("a", n*37%5000)})
		req.RequestID = fmt.Sprintf("%d-%d", os.Getpid(), n)
		if _, err := policy.OnResponse(context.Background(), &v1alpha.ResponseContext{Request: req, StatusCode: 200}); err != nil {
			refused++
		}
	}
	lost, _ := about.Metrics.Counter("lines_lost_total", "Lines of the audit log that could not be written.", "api")
	fmt.Printf("%d %d", refused, int(lost.Value("orders")))
	if policy.Close() != nil {
		return 4
	}
	return 0
}

func writer(t *testing.T, variables ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), variables...)
	return command
}

func TestTwoProcessesWriteWholeLines(t *testing.T) {
	folder := t.TempDir()
	var writers []*exec.Cmd
	for range 2 {
		process := writer(t, folderVariable+"="+folder, moreVariable+`="hashChain": true`)
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, process)
	}
	for _, process := range writers {
		if err := process.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "audit.jsonl")
	entries, ids := lines(t, path), map[any]bool{}
	for _, line := range entries {
		ids[line["requestId"]] = true
	}
	if len(entries) != 1000 || len(ids) != 1000 {
		t.Errorf("expected 1000 lines, got %d of %d requests", len(entries), len(ids))
	}
	content, err := os.ReadFile(path)
	if where := firstBreak(content); err != nil || where != "" {
		t.Errorf("expected whole chains, got %v, %s", err, where)
	}
}

func TestNoPartialLineIsLeft(t *testing.T) {
	for _, test := range []struct {
		onFailure   string
		refusesThem bool
	}{{"refuse", true}, {"continue", false}} {
		folder := t.TempDir()
		process := writer(t, folderVariable+"="+folder, limitVariable+"=100000", moreVariable+`="onFailure": "`+test.onFailure+`"`)
		printed, err := process.Output()
		if err != nil {
			t.Fatal(err)
		}
		var refused, lost int
		if _, err := fmt.Sscan(string(printed), &refused, &lost); err != nil {
			t.Fatal(err)
		}
		written := len(lines(t, filepath.Join(folder, "audit.jsonl")))
		if written == 0 || written+lost != 500 || lost == 0 {
			t.Errorf("expected each of 500 lines to be written or counted, got %d and %d", written, lost)
		}
		if test.refusesThem && refused != lost || !test.refusesThem && refused != 0 {
			t.Errorf("%s: expected the lost lines to be refused, got %d refused of %d lost", test.onFailure, refused, lost)
		}
	}
}

func TestAStoppedWriterBlocksNoOtherProcess(t *testing.T) {
	folder := t.TempDir()
	policy := newPolicy(t, folder, "")
	stopped, err := os.OpenFile(filepath.Join(folder, "audit.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stopped.Close() }()
	if err := syscall.Flock(int(stopped.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for range 20 { // only the first waits a second: otherwise a later request would wait for all of them
		_, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: request(), StatusCode: 200})
		if failure := v1alpha.AsFailure(err); failure == nil || failure.Class != v1alpha.ClassUnavailable {
			t.Fatalf("expected a failure, got %v", err)
		}
	}
	if err := syscall.Flock(int(stopped.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	exchange(t, policy, request(), 200)
	if entries := lines(t, filepath.Join(folder, "audit.jsonl")); len(entries) != 1 {
		t.Errorf("expected the line that was written, got %d", len(entries))
	}
}
