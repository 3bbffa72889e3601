package node

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/sdk/policy/v1alpha"
)

// restarted is a node with an API of its last good state that does not come up, and the log of that.
func restarted(t *testing.T, controller string) (*bench, *logtest.Log) {
	t.Helper()
	directory := t.TempDir()
	first := newBench(t, newScriptedEnvoy(true), directory)
	first.apply(1, some(bundle("a", "1")))
	first.node.Close()
	lines := &logtest.Log{}
	second := &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, controller: controller, log: slog.New(slog.NewTextHandler(lines, nil))}
	second.shelf.fail = v1alpha.Failf(v1alpha.ClassUnavailable, "no such version")
	return newBenchWith(t, second, directory), lines
}

func errorsIn(lines *logtest.Log) (errorLines []string) {
	for line := range strings.Lines(lines.String()) {
		if strings.Contains(line, "level=ERROR") {
			errorLines = append(errorLines, line)
		}
	}
	return errorLines
}

func TestAnAPIThatTheControllerReplacesAtOnceIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, lines := restarted(t, "unix:/controller.sock")
		defer b.node.Close()
		b.shelf.failing(nil)
		b.apply(2, some(bundle("a", "2")))
		time.Sleep(time.Minute)
		b.node.tick(time.Now())
		if errorLines := errorsIn(lines); len(errorLines) > 0 {
			t.Errorf("expected no error, got %q", errorLines)
		}
		if lines.Count("an API of the last good state waits for the controller") != 1 {
			t.Errorf("expected the log to say that it waits, got %s", lines)
		}
	})
}

func TestAnAPIThatStaysUnservedIsAnErrorOnce(t *testing.T) {
	for controller, at := range map[string]time.Duration{"": 0, "unix:/controller.sock": 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b, lines := restarted(t, controller)
			defer b.node.Close()
			if at > 0 {
				time.Sleep(at - time.Second)
				b.node.tick(time.Now())
				if errorLines := errorsIn(lines); len(errorLines) > 0 {
					t.Errorf("expected no error yet, got %q", errorLines)
				}
				time.Sleep(time.Second)
			}
			for range 2 {
				b.node.tick(time.Now())
			}
			errorLines := errorsIn(lines)
			if len(errorLines) != 1 || !strings.Contains(errorLines[0], unrestoredMessage) || !strings.Contains(errorLines[0], "no such version") {
				t.Errorf("with the controller %q: expected one error with the reason, got %q", controller, errorLines)
			}
		})
	}
}
