package engine

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"regexp"
	"testing"
)

// form is the form of all log lines of a node: the supervisor passes lines in it on unchanged.
var form = regexp.MustCompile(`^\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"(debug|info|warning|error)","component":"policy-engine","message":"`)

func TestLinesHaveTheFormOfAllLogLines(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, slog.LevelDebug)
	levels := map[slog.Level]string{
		slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelInfo + 1: "info", slog.LevelWarn: "warning",
		slog.LevelError: "error", slog.LevelError + 4: "error",
	}
	for level, name := range levels {
		out.Reset()
		log.With("a", 1).WithGroup("g").Log(t.Context(), level, "say \"it\"", "level", "own", "time", "noon")
		if !form.Match(out.Bytes()) {
			t.Errorf("expected a line of the form %s, got %s", form, out.Bytes())
		}
		var line struct {
			Level, Message string
			A              int
			G              map[string]string
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Level != name || line.Message != `say "it"` || line.A != 1 || line.G["level"] != "own" || line.G["time"] != "noon" {
			t.Errorf("%s: got %s", name, out.Bytes())
		}
	}
}

func TestLogLevelsHaveOneSpelling(t *testing.T) {
	var level slog.Level
	flag := levelFlag{&level}
	for _, name := range []string{"debug", "warning", "error", "info"} {
		if err := flag.Set(name); err != nil || flag.String() != name {
			t.Errorf("%s: got %s, %v", name, flag.String(), err)
		}
	}
	for _, name := range []string{"warn", "INFO", "error+4", ""} {
		if err := flag.Set(name); err == nil {
			t.Errorf("%q: expected a refusal", name)
		}
	}
}
