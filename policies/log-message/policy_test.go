package logmessage_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	logmessage "gatewright.dev/policies/log-message"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = logmessage.GetPolicy

var metadata = v1alpha.Metadata{PolicyName: "log-message", PolicyVersion: "v1.0.0"}

// logLines runs both phases, and returns the two lines.
func logLines(t *testing.T, params string) (request, response map[string]any) {
	t.Helper()
	var text bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewJSONHandler(&text, nil)))
	policy, err := logmessage.GetPolicy(metadata, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	seen := &v1alpha.RequestContext{RequestID: "id-1", Method: "GET", Path: "/orders/7", Query: "key=secret", APIName: "orders", Authority: "example.org"}
	if action, err := policy.OnRequest(t.Context(), seen); action != nil || err != nil {
		t.Errorf("request: %v, %v", action, err)
	}
	if action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: seen, StatusCode: 404}); action != nil || err != nil {
		t.Errorf("response: %v, %v", action, err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("expected two lines, got %q", lines)
	}
	for n, into := range []*map[string]any{&request, &response} {
		if err := json.Unmarshal([]byte(lines[n]), into); err != nil {
			t.Fatal(err)
		}
	}
	return request, response
}

func TestLines(t *testing.T) {
	request, response := logLines(t, `{"message": "seen"}`)
	for _, line := range []map[string]any{request, response} {
		for key, want := range map[string]any{"msg": "seen", "policy": "log-message:v1.0.0", "requestId": "id-1", "method": "GET", "path": "/orders/7"} {
			if line[key] != want {
				t.Errorf("%s: expected %v, got %v", key, want, line[key])
			}
		}
	}
	if request["phase"] != "request" || response["phase"] != "response" || response["status"] != 404.0 {
		t.Errorf("got %v and %v", request, response)
	}
}

func TestDefaultMessage(t *testing.T) {
	if request, _ := logLines(t, ""); request["msg"] != "request" {
		t.Errorf("got %v", request["msg"])
	}
}

func TestUnknownParameterIsRefused(t *testing.T) {
	if _, err := logmessage.GetPolicy(metadata, v1alpha.Params(`{"massage": "x"}`)); err == nil || !strings.Contains(err.Error(), "massage") {
		t.Errorf("expected an error that names massage, got %v", err)
	}
}

func TestNeverBlocks(t *testing.T) {
	policy, _ := logmessage.GetPolicy(metadata, nil)
	if _, ok := policy.(v1alpha.NeverBlocks); !ok || policy.Close() != nil {
		t.Error("expected a policy that never blocks")
	}
}
