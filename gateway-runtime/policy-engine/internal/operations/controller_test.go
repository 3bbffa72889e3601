package operations_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/sdk/policy/v1alpha"
)

// asked is a request as Envoy has sent it to the controller's tests, found what the table makes of it.
type (
	asked struct {
		Method, Path, Scheme, Authority string
		Headers                         [][2]string
	}
	found struct {
		Route    string `json:"route"`
		Status   int    `json:"status"` // of the gateway's own answer; 0: the request goes upstream
		Allow    string `json:"allow"`
		Detail   string `json:"detail"`
		Location string `json:"location"`
	}
)

// TestRequestsOfTheController finds operations for the controller's tests, which compare them with those that Envoy finds by
// routes of the operations' own (gateway-controller/tests/translate/test_shared_route.py). They put NAME.bundle and
// NAME.requests.json into a folder, and read NAME.found.json.
func TestRequestsOfTheController(t *testing.T) {
	folder := os.Getenv("GATEWRIGHT_OPERATIONS")
	if folder == "" {
		t.Skip("no GATEWRIGHT_OPERATIONS: the controller's tests set it")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.bundle"))
	if err != nil || len(files) == 0 {
		t.Fatalf("expected bundles in %s, got none: %v", folder, err)
	}
	for _, file := range files {
		message := &nodev1.ApiBundle{}
		if err := proto.Unmarshal(read(t, file), message); err != nil {
			t.Fatal(err)
		}
		table, err := operations.NewTable(message.GetApi(), message.GetOperations(), message.GetStrictPaths())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var requests []asked
		if err := json.Unmarshal(read(t, strings.TrimSuffix(file, "bundle")+"requests.json"), &requests); err != nil {
			t.Fatal(err)
		}
		results := make([]found, 0, len(requests))
		for _, request := range requests {
			results = append(results, findFor(table, &request))
		}
		text, err := json.Marshal(results)
		if err == nil {
			err = os.WriteFile(strings.TrimSuffix(file, "bundle")+"found.json", text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func findFor(table *operations.Table, a *asked) found {
	request := &operations.Request{Method: a.Method, Path: a.Path, Scheme: a.Scheme, Authority: a.Authority}
	for _, header := range a.Headers {
		request.Headers = append(request.Headers, v1alpha.Header{Name: header[0], Value: header[1]})
	}
	row := table.Find(request)
	result := found{Route: row.Route}
	if row.Answer != nil {
		result.Status, result.Allow, result.Detail = row.Answer.Status, row.Answer.Allow, row.Answer.Detail
		if row.Answer.UnescapeSlashes {
			result.Location = row.Answer.Location(request)
		}
	}
	return result
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // a test's folder
	if err != nil {
		t.Fatal(err)
	}
	return text
}
