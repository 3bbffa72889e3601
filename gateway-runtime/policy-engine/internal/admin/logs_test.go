package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/logexport"
)

func TestLogLevelsAndLines(t *testing.T) {
	ready := false
	exporter := logexport.New("node-1", slog.New(slog.DiscardHandler))
	defer exporter.Close()
	handler := admin.Handler(admin.Sources{
		Ready: func() bool { return ready }, Logs: exporter,
		Secrets: func() *nodev1.Redaction { return &nodev1.Redaction{Headers: []string{"cookie"}} },
		LogLevel: func(_ context.Context, component, level string) error {
			if component != "policy-engine" {
				return errors.New("expected another component, got " + component)
			}
			return nil
		},
	})
	ask := func(method, path, body string, status int, want string) {
		t.Helper()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if answer.Code != status || !strings.Contains(answer.Body.String(), want) {
			t.Errorf("%s %s %.40s: expected %d with %s, got %d %s", method, path, body, status, want, answer.Code, answer.Body)
		}
	}
	ask("POST", "/log-level", `{"component":"policy-engine","level":"debug"}`, 200, `"level":"debug"`)
	ask("POST", "/log-level", `{"component":"envoy","level":"debug"}`, 409, "expected another component, got envoy")
	ask("POST", "/log-level", `{"levels":{}}`, 400, "expected a component and a level as JSON")
	ask("GET", "/logs", "", 503, "not ready")
	ask("POST", "/logs", "{}\n", 503, "not ready")
	ready = true
	ask("GET", "/logs", "", 200, `"exporting":false`)
	ask("GET", "/logs", "", 200, `"redaction":{"headers":["cookie"],"queryParameters":[],"fields":[]}`)
	ask("POST", "/logs", "{}\n", 200, `"exported":0`)
	ask("POST", "/logs", strings.Repeat("x", 5<<20), 400, "expected log lines, at most 4194304 bytes")
}
