package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/pythonbridge"
)

func TestTheLogLevelChangesWhileTheEngineRuns(t *testing.T) {
	var out bytes.Buffer
	level := &slog.LevelVar{}
	e := &Engine{options: Options{Log: newLogger(&out, level), LogLevel: level}, groups: pythonbridge.NewGroups(nil, pythonbridge.Options{}, slog.Default())}
	defer e.groups.Close()
	e.options.Log.Debug("before")
	for _, c := range []struct{ component, level, mistake string }{
		{component, "debug", ""},
		{executorComponent, "debug", ""},
		{component, "loud", `expected debug, info, warning or error, got "loud"`},
		{"envoy", "debug", `expected the component policy-engine or python-executor, got "envoy"`},
	} {
		err := e.setLogLevel(t.Context(), c.component, c.level)
		if got := errText(err); got != c.mistake {
			t.Errorf("%s=%s: expected %q, got %q", c.component, c.level, c.mistake, got)
		}
	}
	e.options.Log.Debug("after")
	if logged := out.String(); strings.Contains(logged, "before") || !strings.Contains(logged, "after") {
		t.Errorf("expected debug lines since the change, got %s", logged)
	}
	e.options.LogLevel = nil
	if err := e.setLogLevel(t.Context(), component, "info"); err == nil {
		t.Error("expected a refusal where the log is another's")
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
