package engine

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

// post requests a deployment, and returns the status and the body as text.
func (e *testEngine) post(body string) (status int, text string) {
	e.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://engine/executors", strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	response, err := e.admin.Do(request)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		e.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func TestDeployments(t *testing.T) {
	p := startEngine(t, envoytest.Directory(t), markManifest, registerMark)
	next := p.directory + "/next.json"
	cases := []struct {
		name, manifest, body string
		status               int
		says                 string
	}{
		{"no JSON", "", `{"generation":`, 400, "expected a deployment as JSON"},
		{"an unknown key", "", `{"generations":2}`, 400, "unknown field"},
		{"no such manifest", "", `{"generation":2,"manifest":"/no/such"}`, 409, "--manifest names the manifest.json"},
		{"a changed definition", strings.ReplaceAll(markManifest, `"definitionDigest":"d"`, `"definitionDigest":"e"`), "", 409,
			"policy mark:v1.0.0: expected the definition that mark:v1.0.0 was built with, got a changed one; give it a new version"},
		{"another runtime", strings.ReplaceAll(markManifest, `"runtime":"go","definitionDigest"`, `"runtime":"python","group":"g","definitionDigest"`), "", 409,
			"expected runtime go"},
		{"a Go policy that is not compiled in", strings.ReplaceAll(markManifest, `"mark","version":"v1.0.0","runtime":"go","definitionDigest"`, `"mark","version":"v2.0.0","runtime":"go","definitionDigest"`), "", 409,
			"not compiled into this engine"},
		{"an older generation", "", `{"generation":0}`, 409, "expected 1 or later, got 0"},
		{"a later generation", markManifest, "", 200, `"generation":2`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.body == "" {
				if err := os.WriteFile(next, []byte(c.manifest), 0o600); err != nil {
					t.Fatal(err)
				}
				c.body = `{"generation":2,"manifest":"` + next + `"}`
			}
			if status, text := p.post(c.body); status != c.status || !strings.Contains(text, c.says) {
				t.Errorf("expected %d and %q, got %d and %s", c.status, c.says, status, text)
			}
		})
	}
	if got := ask[admin.Executors](p, "/executors"); got.Generation != 2 || len(got.Processes) != 0 {
		t.Errorf("expected generation 2 without processes, got %+v", got)
	}
}
