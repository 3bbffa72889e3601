package pythonbridge

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

const realPolicy = `
import os
import time

from sdk.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications


def on_request(ctx, params):
    if ctx.path == "/kill":
        os.kill(os.getpid(), 9)
    if ctx.path == "/sleep":
        open(os.path.join(os.path.dirname(__file__), "started"), "w").close()
        time.sleep(0.5)
    if ctx.path == "/deny":
        return ImmediateResponse(status_code=401, headers={"www-authenticate": "Basic"}, body=b"no")
    if ctx.path == "/raise":
        raise ValueError("the policy's own fault")
    ctx.metadata["seen"] = 2**53 + 1
    return UpstreamRequestModifications(
        set_headers={params["name"]: ctx.headers["x-bin"], "x-pid": str(os.getpid())}, remove_headers=["x-bin"], body=ctx.body and ctx.body[::-1]
    )


def on_response(ctx, params):
    return UpstreamResponseModifications(status_code=ctx.status_code + 1, append_headers={"via": ctx.request.method})
`

// realExecutor is the Python executor itself, with one working policy and one that cannot be imported.
type realExecutor struct {
	python, folder string
	address        string
	process        *exec.Cmd
}

func startReal(t testing.TB) *realExecutor {
	t.Helper()
	real := newReal(t, realPolicy)
	real.start(t)
	return real
}

// newReal is a realExecutor that has not been started.
func newReal(t testing.TB, policy string) *realExecutor {
	t.Helper()
	python, err := exec.LookPath("python")
	if err != nil {
		t.Skip("needs `python` with the package gatewright_executor on PATH: no python")
	}
	if out, err := exec.CommandContext(context.Background(), python, "-c", "import gatewright_executor.main").CombinedOutput(); err != nil {
		t.Skipf("needs `python` with the package gatewright_executor on PATH: %s: %s", python, out)
	}
	x := newExecutor(t)
	folder := filepath.Dir(x.address[len("unix:"):])
	for name, text := range map[string]string{
		"good.py": policy, "bad.py": "def on_request(ctx, params:\n",
		"python_policy_registry.py": `PYTHON_POLICIES: dict[str, str] = {"add-python-header:v1.0.0": "good", "broken:v1.0.0": "bad"}`,
	} {
		must(os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	return &realExecutor{python: python, folder: folder, address: x.address}
}

func (x *realExecutor) start(t testing.TB) {
	t.Helper()
	process := exec.CommandContext(context.Background(), x.python, "-c", "from gatewright_executor.main import main; main()", "--listen", x.address, "--registry",
		filepath.Join(x.folder, "python_policy_registry.py"), "--workers", "4")
	log := &strings.Builder{}
	process.Stderr = log
	must(process.Start())
	x.process = process
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		if t.Failed() {
			t.Logf("log of the executor:\n%s", log)
		}
	})
}

func (x *realExecutor) connect(t testing.TB) *Groups {
	t.Helper()
	groups := NewGroups(map[string][]string{"default": {x.address}}, Options{}, quiet)
	t.Cleanup(groups.Close)
	ready(t, groups)
	return groups
}

func realRequest(path string) *v1alpha.RequestContext {
	req := request()
	req.Path = path
	return req
}

func onRequest(t testing.TB, policy v1alpha.Policy, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return policy.OnRequest(ctx, req)
}

func TestRealExecutor(t *testing.T) {
	x := startReal(t)
	groups := x.connect(t)
	built := await.Receive(t, build(groups), "the policy")
	must(built.err)
	policy := built.policy

	t.Run("request", func(t *testing.T) {
		req := realRequest("/orders")
		req.Body = []byte("abc")
		action, err := onRequest(t, policy, req)
		must(err)
		changes := action.(*v1alpha.UpstreamRequestModifications)
		if got := (v1alpha.Headers)(changes.Headers.Set).Get("x-a"); got != "\xff\xfe" {
			t.Errorf("expected the header's bytes to come back, got %q", got)
		}
		if !reflect.DeepEqual(changes.Headers.Remove, []string{"x-bin"}) || changes.Body == nil || string(*changes.Body) != "cba" {
			t.Errorf("expected x-bin removed and the body reversed, got %+v", changes)
		}
		if seen, _ := req.Metadata.Get("seen"); seen != int64(1<<53+1) {
			t.Errorf("expected the metadata as an integer, got %v", seen)
		}
	})
	t.Run("response", func(t *testing.T) {
		action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: request(), StatusCode: 200, Metadata: &v1alpha.ExchangeMetadata{}})
		must(err)
		want := &v1alpha.UpstreamResponseModifications{
			StatusCode: 201, Headers: v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: "via", Value: "GET"}}},
		}
		if !reflect.DeepEqual(action, want) {
			t.Errorf("expected %+v, got %+v", want, action)
		}
	})
	t.Run("immediate response", func(t *testing.T) {
		action, err := onRequest(t, policy, realRequest("/deny"))
		must(err)
		if answer, ok := action.(*v1alpha.ImmediateResponse); !ok || answer.StatusCode != 401 || string(answer.Body) != "no" {
			t.Errorf("expected 401, got %+v", action)
		}
	})
	t.Run("exception", func(t *testing.T) {
		_, err := onRequest(t, policy, realRequest("/raise"))
		wantClass(t, err, v1alpha.ClassException)
		if !strings.Contains(err.Error(), "the policy's own fault") {
			t.Errorf("expected the policy's own words, got %v", err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := policy.OnRequest(ctx, realRequest("/sleep"))
		wantClass(t, err, v1alpha.ClassTimeout)
	})
	t.Run("a policy that does not import", func(t *testing.T) {
		broken := metadata
		broken.PolicyName = "broken"
		_, err := groups.BridgeFactory("default")(broken, nil)
		if err == nil || !strings.Contains(err.Error(), "bad.py") {
			t.Errorf("expected an error with the file, got %v", err)
		}
	})
}

func TestRealExecutorKilledAndStartedAgain(t *testing.T) {
	x := startReal(t)
	groups := x.connect(t)
	built := await.Receive(t, build(groups), "the policy")
	must(built.err)
	_, err := onRequest(t, built.policy, realRequest("/kill"))
	wantLost(t, err, "the executor process ended while it ran")
	_, err = onRequest(t, built.policy, realRequest("/orders"))
	wantClass(t, err, v1alpha.ClassUnavailable)
	x.start(t)
	ready(t, groups)
	action, err := onRequest(t, built.policy, realRequest("/orders"))
	must(err)
	if got := (v1alpha.Headers)(action.(*v1alpha.UpstreamRequestModifications).Headers.Set).Get("x-a"); got == "" {
		t.Error("expected the instance to be back with its parameters")
	}
}

func TestRealExecutorStopsInOrder(t *testing.T) {
	x := startReal(t)
	groups := x.connect(t)
	built := await.Receive(t, build(groups), "the policy")
	must(built.err)
	answer := make(chan error, 1)
	go func() {
		_, err := onRequest(t, built.policy, realRequest("/sleep"))
		answer <- err
	}()
	await.Until(t, "the policy under way", func() bool {
		_, err := os.Stat(filepath.Join(x.folder, "started"))
		return err == nil
	})
	must(x.process.Process.Signal(syscall.SIGTERM))
	await.Until(t, "it noticed", func() bool { return !statsOf(groups, 0).Serving })
	_, err := onRequest(t, built.policy, realRequest("/orders"))
	wantClass(t, err, v1alpha.ClassUnavailable)
	if err := await.Receive(t, answer, "the answer"); err != nil {
		t.Errorf("expected what was under way to finish, got %v", err)
	}
	if err := x.process.Wait(); err != nil {
		t.Errorf("expected the executor to end with 0, got %v", err)
	}
}

// BenchmarkRealExecutor64InFlight measures the whole way: Go, the stream, Python's workers, and back.
func BenchmarkRealExecutor64InFlight(b *testing.B) {
	x := startReal(b)
	groups := x.connect(b)
	built := await.Receive(b, build(groups), "the policy")
	must(built.err)
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(loop *testing.PB) {
		for loop.Next() {
			if _, err := onRequest(b, built.policy, realRequest("/orders")); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	stats := statsOf(groups, 0)
	b.ReportMetric(float64(stats.Executions)/float64(stats.Frames), "executions/frame")
}
