package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

func TestStartNamesAllMistakesOfItsOptions(t *testing.T) {
	_, err := Start(t.Context(), Options{Admin: "127.0.0.1:1", Executors: map[string][]string{"default": {"py"}, "": {"unix:py"}}, DrainTimeout: -time.Second, RequestLimit: -time.Second})
	if err == nil {
		t.Fatal("expected an error")
	}
	want := []string{
		"Register: expected a function", "--manifest: expected a value", "--node-id: expected a value", "--state-dir: expected a value",
		`--admin: expected unix:PATH, got "127.0.0.1:1"`, "--ext-proc: expected unix:PATH", "--xds: expected unix:PATH",
		`--executor: group default: expected unix:PATH, got "py"`, "--executor: expected GROUP=unix:PATH[,unix:PATH…], got no group",
		"--drain-timeout: expected a time like 10s, got -1s", "--executor-drain: expected a time like 10s, got 0s",
		"--quarantine-deaths: expected a number from 1", "--body-memory: expected a number of bytes from 1",
		"--request-limit: expected a time like 60s, or 0s for any, got -1s",
	}
	if got := strings.Split(err.Error(), "\n"); len(got) != len(want) {
		t.Errorf("expected %d mistakes, got %q", len(want), got)
	}
	for _, mistake := range want {
		if !strings.Contains(err.Error(), mistake) {
			t.Errorf("expected %q, got %q", mistake, err)
		}
	}
}

func TestTheCommandLineNamesAllItsMistakes(t *testing.T) {
	var usage bytes.Buffer
	_, err := parseCommandLine([]string{"--what", "---x", "--xds", "here", "stray", "--log-level=warn", "--memory-limit", "-1", "--body-memory", "much",
		"--metrics-source", "envoy", "--metrics-source", "a=unix:/a", "--metrics-source", "a=unix:/b",
		"--node-label", "zone", "--node-label", "zone=eu", "--node-label", "zone=us"}, &usage)
	for _, mistake := range []string{
		"flag provided but not defined: -what", "bad flag syntax: ---x", `expected flags only, got "stray"`, `invalid value "warn" for flag -log-level`,
		`invalid value "much" for flag -body-memory`,
		`expected NAME=unix:PATH[:/path], got "envoy"`, "expected one source a, got another", `expected KEY=VALUE, got "zone"`, "expected one value of the label zone, got eu and us", `--xds: expected unix:PATH, got "here"`, "--node-id: expected a value", "--memory-limit: expected",
	} {
		if err == nil || !strings.Contains(err.Error(), mistake) {
			t.Errorf("expected %q, got %v", mistake, err)
		}
	}
	if usage.Len() > 0 {
		t.Errorf("expected no usage beside the line of the log, got %s", usage.String())
	}
}

// TestAnEngineThatIsStoppedWhileItStarts leaves no goroutines or files behind.
func TestAnEngineThatIsStoppedWhileItStarts(t *testing.T) {
	directory := envoytest.Directory(t)
	options := optionsIn(t, directory, markManifest)
	options.Register, options.Log = registerMark, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, options); !errors.Is(err, ErrStopped) {
		t.Errorf("expected %v, got %v", ErrStopped, err)
	}
	for _, name := range []string{"ext", "xds", "engine"} {
		if _, err := os.Stat(directory + "/" + name); err == nil {
			t.Errorf("%s is left behind", name)
		}
	}
}

// TestAnOrderlyStopEndsTheProgramWithZero, at any time.
func TestAnOrderlyStopEndsTheProgramWithZero(t *testing.T) {
	for name, ready := range map[string]bool{"before it serves": false, "while it serves": true} {
		t.Run(name, func(t *testing.T) {
			directory := envoytest.Directory(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var log logtest.Log
			code := make(chan int, 1)
			if !ready {
				cancel()
			}
			go func() {
				code <- run(ctx, programArguments(t, directory, markManifest), &log, registerMark, func(*slog.Logger, *commandLine) {})
			}()
			if ready {
				await.Until(t, "it is ready", func() bool { return strings.Contains(log.String(), `"message":"ready"`) })
				cancel()
			}
			if got := <-code; got != 0 || !strings.Contains(log.String(), `"message":"stopped"`) {
				t.Errorf("expected 0, got %d: %s", got, log.String())
			}
		})
	}
}

// TestAStartThatIsStoppedLeavesOthersSocketsAlone: an engine that cannot check whether a process listens removes no
// socket.
func TestAStartThatIsStoppedLeavesOthersSocketsAlone(t *testing.T) {
	path := envoytest.Directory(t) + "/admin"
	alive, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alive.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := removeStale(ctx, path); !errors.Is(err, ErrStopped) {
		t.Errorf("expected %v, got %v", ErrStopped, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
