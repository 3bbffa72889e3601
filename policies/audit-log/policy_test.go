package auditlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	auditlog "gatewright.dev/policies/audit-log"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = auditlog.GetPolicy

const defaults = `"file": "audit.jsonl", "begin": false, "requestHeaders": [], "responseHeaders": [], "onFailure": "refuse", "sync": "never", "hashChain": false`

// params returns the defaults, overridden by further members: the last one of a key counts.
func params(more string) v1alpha.Params {
	if more != "" {
		more = ", " + more
	}
	return v1alpha.Params("{" + defaults + more + "}")
}

func metadata(folder string) v1alpha.Metadata {
	system, _ := json.Marshal(map[string]any{"folder": folder, "redactedHeaders": []string{"authorization", "x-secret*"}})
	return v1alpha.Metadata{PolicyName: "audit-log", PolicyVersion: "v1.0.0", SystemParams: system, Metrics: v1alpha.NewMetrics(func(string) {})}
}

func newPolicy(t *testing.T, folder, more string) v1alpha.Policy {
	t.Helper()
	policy, err := auditlog.GetPolicy(metadata(folder), params(more))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := policy.Close(); err != nil {
			t.Error(err)
		}
	})
	return policy
}

func request(headers ...v1alpha.Header) *v1alpha.RequestContext {
	return &v1alpha.RequestContext{
		RequestID: "r1", Method: "GET", Path: "/orders/1", Query: "token=s3cret", ClientAddress: "[2001:db8::7]:4711",
		APIName: "orders", APIVersion: "v1.0", Operation: "GET /{id}", Headers: headers,
		Metadata: &v1alpha.ExchangeMetadata{},
	}
}

func exchange(t *testing.T, policy v1alpha.Policy, req *v1alpha.RequestContext, status int) {
	t.Helper()
	action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{
		Request: req, StatusCode: status, Headers: v1alpha.Headers{{Name: "server", Value: "shop"}}, Metadata: req.Metadata,
	})
	if err != nil || action != nil {
		t.Fatalf("expected nothing, got %v, %v", action, err)
	}
}

// lines returns the lines of a file, which must be whole JSON objects.
func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) > 0 && !bytes.HasSuffix(content, []byte("\n")) {
		t.Fatalf("expected a line end at the end, got %q", content[max(0, len(content)-80):])
	}
	var entries []map[string]any
	for line := range bytes.Lines(content) {
		var entry map[string]any
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		entries = append(entries, entry)
	}
	return entries
}

func TestALineHasTimeClientRequestAndOutcome(t *testing.T) {
	folder := t.TempDir()
	policy := newPolicy(t, folder, `"requestHeaders": ["User-Agent", "Authorization", "x-secret-1", "x-none"], "responseHeaders": ["server"]`)
	req := request(v1alpha.Header{Name: "user-agent", Value: "curl"}, v1alpha.Header{Name: "user-agent", Value: "<again>"},
		v1alpha.Header{Name: "authorization", Value: "Bearer s3cret"}, v1alpha.Header{Name: "x-secret-1", Value: "s3cret"})
	req.Peer = &v1alpha.Peer{Subject: "CN=ada", Fingerprint: "ab"}
	if err := req.Metadata.Set("identity", map[string]any{"subject": "ada", "issuer": "https://id.example", "claims": map[string]any{"email": "s3cret"}}); err != nil {
		t.Fatal(err)
	}
	exchange(t, policy, req, 200)
	content, _ := os.ReadFile(filepath.Join(folder, "audit.jsonl"))
	written, rest, _ := strings.Cut(strings.TrimPrefix(string(content), `{"time":"`), `",`)
	if at, err := time.Parse(time.RFC3339Nano, written); err != nil || time.Since(at) > time.Minute {
		t.Errorf("expected the time, got %q", written)
	}
	want := `"event":"response","requestId":"r1","api":"orders","apiVersion":"v1.0","operation":"GET /{id}",` +
		`"subject":"ada","issuer":"https://id.example","client":"2001:db8::7","peerSubject":"CN=ada","peer":"ab",` +
		`"method":"GET","path":"/orders/1","status":200,"outcome":"ok",` +
		`"requestHeaders":{"authorization":["[redacted]"],"user-agent":["curl","<again>"],"x-secret-1":["[redacted]"]},` +
		`"responseHeaders":{"server":["shop"]}}` + "\n"
	if rest != want {
		t.Errorf("expected %s, got %s", want, rest)
	}
	if info, err := os.Stat(filepath.Join(folder, "audit.jsonl")); err != nil || info.Mode().Perm()&0o137 != 0 {
		t.Errorf("expected a file that others cannot read, got %v, %v", info.Mode(), err)
	}
}

func TestOutcomes(t *testing.T) {
	folder := t.TempDir()
	policy := newPolicy(t, folder, "")
	outcomes := map[int]string{200: "ok", 304: "ok", 401: "denied", 403: "denied", 404: "refused", 429: "refused", 500: "failed", 504: "failed"}
	for status := range outcomes {
		exchange(t, policy, request(), status)
	}
	for _, line := range lines(t, filepath.Join(folder, "audit.jsonl")) {
		if want := outcomes[int(line["status"].(float64))]; line["outcome"] != want {
			t.Errorf("%v: expected %s, got %v", line["status"], want, line["outcome"])
		}
	}
}

func TestNoTextOfARequestEndsALine(t *testing.T) {
	folder := t.TempDir()
	policy := newPolicy(t, folder, `"requestHeaders": ["x-a"]`)
	for _, hostile := range []string{"a\nb", "\"}\n{\"event\":\"forged\"}", "\u2028\u2029", "\xff\xfe", "a\x00b", strings.Repeat("x", 60_000), "é"} {
		req := request(v1alpha.Header{Name: "x-a", Value: hostile})
		req.Path, req.Method, req.Operation = "/"+hostile, hostile, hostile
		if err := req.Metadata.Set("identity", hostile); err != nil {
			t.Fatal(err)
		}
		exchange(t, policy, req, 200)
	}
	entries := lines(t, filepath.Join(folder, "audit.jsonl"))
	if len(entries) != 7 {
		t.Fatalf("expected 7 lines, got %d", len(entries))
	}
	for _, line := range entries {
		if line["event"] != "response" || line["subject"] != nil {
			t.Errorf("expected no client in the line of the response, got %v", line)
		}
	}
}

func TestALineIsWrittenBeforeTheRequestGoesUpstream(t *testing.T) {
	folder := t.TempDir()
	for _, begin := range []bool{false, true} {
		policy := newPolicy(t, folder, fmt.Sprintf(`"file": "%t", "begin": %t`, begin, begin))
		if action, err := policy.OnRequest(t.Context(), request()); action != nil || err != nil {
			t.Fatal(action, err)
		}
		exchange(t, policy, request(), 200)
		entries := lines(t, filepath.Join(folder, fmt.Sprint(begin)))
		if begin && (len(entries) != 2 || entries[0]["event"] != "request" || entries[0]["status"] != nil) || !begin && len(entries) != 1 {
			t.Errorf("begin %t: got %v", begin, entries)
		}
	}
}

func TestMovedAndTruncatedFilesAreFollowed(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "audit.jsonl")
	policy := newPolicy(t, folder, `"sync": "1ms"`)
	exchange(t, policy, request(), 200)
	if err := os.Rename(path, path+".1"); err != nil { // logrotate, create
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); ; {
		exchange(t, policy, request(), 201)
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal("expected a new file")
		}
		time.Sleep(10 * time.Millisecond)
	}
	before := len(lines(t, path+".1"))
	exchange(t, policy, request(), 202)
	if entries := lines(t, path); len(entries) != 2 || len(lines(t, path+".1")) != before {
		t.Fatalf("expected two lines in the new file, got %v", entries)
	}
	if err := os.Truncate(path, 0); err != nil { // logrotate, copytruncate
		t.Fatal(err)
	}
	exchange(t, policy, request(), 203)
	if entries := lines(t, path); len(entries) != 1 || entries[0]["status"] != 203.0 {
		t.Errorf("expected one line, got %v", entries)
	}
}

func TestAChainShowsWhatIsMissingOrChanged(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "audit.jsonl")
	writers := []v1alpha.Policy{newPolicy(t, folder, `"hashChain": true`), newPolicy(t, folder, `"hashChain": true`)}
	for n := range 20 {
		exchange(t, writers[n%3%2], request(), 200)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if where := firstBreak(content); where != "" {
		t.Fatal(where)
	}
	if firstBreak(bytes.Replace(content, []byte(`"status":200`), []byte(`"status":500`), 1)) == "" {
		t.Error("expected a change to show")
	}
	second := bytes.IndexByte(content, '\n') + 1
	third := second + bytes.IndexByte(content[second:], '\n') + 1
	if firstBreak(append(bytes.Clone(content[:second]), content[third:]...)) == "" {
		t.Error("expected a missing line to show")
	}
}

// firstBreak returns the first place where a chain is broken.
func firstBreak(content []byte) string {
	type link struct {
		Writer   string
		Sequence int
		Previous string
	}
	last := map[string]link{}
	for line := range bytes.Lines(content) {
		var entry struct{ Chain link }
		if err := json.Unmarshal(line, &entry); err != nil {
			return err.Error()
		}
		before := last[entry.Chain.Writer]
		if entry.Chain.Sequence != before.Sequence+1 || entry.Chain.Previous != before.Previous {
			return fmt.Sprintf("at %d of %s", entry.Chain.Sequence, entry.Chain.Writer)
		}
		digest := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
		last[entry.Chain.Writer] = link{"", entry.Chain.Sequence, hex.EncodeToString(digest[:])}
	}
	return ""
}

func TestExchangesAtTheSameTime(t *testing.T) {
	folder := t.TempDir()
	writers := []v1alpha.Policy{newPolicy(t, folder, `"sync": "1ms"`), newPolicy(t, folder, `"sync": "0s"`)}
	var exchanges sync.WaitGroup
	for n := range 100 {
		exchanges.Go(func() { exchange(t, writers[n%2], request(), 200) })
	}
	exchanges.Wait()
	if entries := lines(t, filepath.Join(folder, "audit.jsonl")); len(entries) != 100 {
		t.Errorf("expected 100 lines, got %d", len(entries))
	}
}

func TestInvalidFilesAreRefused(t *testing.T) {
	folder := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ folder, params, says string }{
		{folder + "/none", "", "no such file or directory; the operator sets the folder by the system parameter folder of audit-log"},
		{"logs", "", `expected an absolute folder and a file's name in it, got "logs" and "audit.jsonl"`},
		{folder, `"file": "../a"`, `got "` + folder + `" and "../a"`},
		{folder, `"file": ""`, `and ""`},
		{folder, `"file": "link"`, "too many levels of symbolic links"},
		{folder, `"file": "folder"`, "is a directory"},
		{folder, `"sync": "often"`, `sync: expected never or a time like 0s or 500ms, got "often"`},
		{folder, `"sync": "-1s"`, `got "-1s"`},
		{folder, `"unknown": 1`, "unknown"},
	} {
		policy, err := auditlog.GetPolicy(metadata(test.folder), params(test.params))
		if err == nil {
			_ = policy.Close()
			t.Errorf("%s: expected a refusal", test.params)
		} else if !strings.Contains(err.Error(), test.says) {
			t.Errorf("expected %q, got %q", test.says, err)
		}
	}
}

func TestAfterTheEndNothingIsWritten(t *testing.T) {
	folder := t.TempDir()
	policy := newPolicy(t, folder, `"sync": "1h"`)
	exchange(t, policy, request(), 200)
	if err := policy.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: request()})
	if failure := v1alpha.AsFailure(err); failure == nil || failure.Class != v1alpha.ClassUnavailable {
		t.Errorf("expected a failure, got %v", err)
	}
}
