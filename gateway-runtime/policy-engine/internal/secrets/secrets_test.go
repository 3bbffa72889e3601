package secrets_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logtest"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/policy-engine/internal/secrets"
)

var orders = secrets.Ref{API: "orders-v1", Name: "key"}

func open(t *testing.T, folder string) (*secrets.Store, *logtest.Log) {
	t.Helper()
	log := &logtest.Log{}
	store := secrets.NewStore(folder, 2*time.Millisecond, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(store.Close)
	return store, log
}

func put(t *testing.T, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func link(t *testing.T, to string, path ...string) {
	t.Helper()
	at := filepath.Join(path...)
	if err := os.Symlink(to, at+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at+".new", at); err != nil {
		t.Fatal(err)
	}
}

func becomes(t *testing.T, store *secrets.Store, ref secrets.Ref, want string) {
	t.Helper()
	await.Until(t, fmt.Sprintf("the secret %s is %q", ref.Name, want), func() bool {
		got, err := store.Get(ref)
		return err == nil && got == want
	})
}

func TestOneNewlineAtTheEndIsNotTheSecrets(t *testing.T) {
	for _, c := range [][2]string{{"a", "a"}, {"a\n", "a"}, {"a\r\n", "a"}, {"a\n\n", "a\n"}, {" a ", " a "}, {"ü\x00b", "ü\x00b"}} {
		content, want := c[0], c[1]
		folder := t.TempDir()
		put(t, content, folder, "key")
		store, _ := open(t, folder)
		if got, err := store.Get(orders); err != nil || got != want {
			t.Errorf("%q: expected %q, got %q, %v", content, want, got, err)
		}
	}
}

func TestAnUnreadableSecretIsReportedByPathWithoutItsContent(t *testing.T) {
	folder, outside := t.TempDir(), t.TempDir()
	put(t, "planted", outside, "elsewhere")
	put(t, strings.Repeat("planted", 10_000), folder, "large")
	put(t, "planted\xff", folder, "bytes")
	put(t, "\n", folder, "empty")
	put(t, "planted", folder, "orders-v1", "other")
	link(t, filepath.Join(outside, "elsewhere"), folder, "absolute")
	link(t, "../"+filepath.Base(outside)+"/elsewhere", folder, "relative")
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, log := open(t, folder)
	for name, want := range map[string]string{
		"large":     "large: expected at most 65536 bytes",
		"bytes":     "bytes: expected UTF-8 text",
		"empty":     "expected a secret, got an empty file",
		"orders-v1": "expected a regular file, got another kind",
		"pipe":      "expected a regular file",
		"absolute":  "got a link that leads out of it",
		"relative":  "got a link that leads out of it",
		"none":      "expected a file, " + filepath.Join(folder, "orders-v1", "none") + " or " + filepath.Join(folder, "none"),
		"../key":    "expected a name of lower-case letters",
		"":          "expected a name of lower-case letters",
		"..data":    "expected a name of lower-case letters",
	} {
		value, err := store.Get(secrets.Ref{API: "orders-v1", Name: name})
		if err == nil || !strings.Contains(err.Error(), want) || value != "" {
			t.Errorf("%s: expected %q, got %q, %v", name, want, value, err)
		}
		if err != nil && strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(log.String(), "planted") {
		t.Error(log.String())
	}
	if _, err := store.Get(secrets.Ref{API: "../" + filepath.Base(outside), Name: "elsewhere"}); err == nil || strings.Contains(err.Error(), outside) {
		t.Errorf("expected no file of another folder, got %v", err)
	}
}

func TestWithoutAFolderOrBeforeItExists(t *testing.T) {
	none, _ := open(t, "")
	if _, err := none.Get(orders); err == nil || !strings.Contains(err.Error(), "--secrets DIR") {
		t.Errorf("got %v", err)
	}
	folder := filepath.Join(t.TempDir(), "secrets")
	later, _ := open(t, folder)
	if _, err := later.Get(orders); err == nil || !strings.Contains(err.Error(), "expected a file") {
		t.Errorf("got %v", err)
	}
	put(t, "there", folder, "key")
	await.Receive(t, later.Changes(), "a change")
	becomes(t, later, orders, "there")
}

// TestAFolderThatIsReplacedAsKubernetesDoes: files are links into ..data, which is a link to another folder.
func TestAFolderThatIsReplacedAsKubernetesDoes(t *testing.T) {
	folder := t.TempDir()
	put(t, "first", folder, "..1", "key")
	link(t, "..1", folder, "..data")
	link(t, "..data/key", folder, "key")
	store, log := open(t, folder)
	becomes(t, store, orders, "first")
	put(t, "second", folder, "..2", "key")
	link(t, "..2", folder, "..data")
	if err := os.RemoveAll(filepath.Join(folder, "..1")); err != nil {
		t.Fatal(err)
	}
	becomes(t, store, orders, "second")
	for _, value := range []string{"first", "second"} {
		if strings.Contains(log.String(), value) {
			t.Error(log.String())
		}
	}
}

func TestARemovedFileLeavesItsValueAndIsLoggedOnce(t *testing.T) {
	folder, other := t.TempDir(), secrets.Ref{API: "orders-v1", Name: "other"}
	file := put(t, "first", folder, "key")
	put(t, "first", folder, "other")
	store, log := open(t, folder)
	becomes(t, store, orders, "first")
	becomes(t, store, other, "first")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	const kept = "the value that it had stays in use"
	await.Until(t, "a line that the value stays", func() bool { return log.Count(kept) > 0 })
	put(t, "second", folder, "other")
	becomes(t, store, other, "second") // after two more checks of all files
	if log.Count(kept) != 1 || store.Stats() != (secrets.Stats{InUse: 2, Failing: 1}) {
		t.Errorf("expected one line and one of two secrets to fail, got %+v and %s", store.Stats(), log)
	}
	becomes(t, store, orders, "first")
	put(t, "second", folder, "key")
	becomes(t, store, orders, "second")
	if store.Stats() != (secrets.Stats{InUse: 2}) {
		t.Errorf("%+v", store.Stats())
	}
	store.Keep(nil)
	if store.Stats() != (secrets.Stats{}) {
		t.Errorf("%+v", store.Stats())
	}
}

func TestAWorldReadableFileIsLogged(t *testing.T) {
	folder := t.TempDir()
	if err := os.Chmod(put(t, "planted", folder, "key"), 0o644); err != nil { //nolint:gosec // which is the point
		t.Fatal(err)
	}
	store, log := open(t, folder)
	becomes(t, store, orders, "planted")
	if text := log.String(); !strings.Contains(text, "may be read by every user") || strings.Contains(text, "planted") {
		t.Error(text)
	}
}

// TestReferencesAndNothingElseAreReplaced: in any surroundings, and at any depth.
func TestReferencesAndNothingElseAreReplaced(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		names := map[string]string{}
		params := map[string]any{"params": parameters(t, names, 4)}
		text, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		found, err := secrets.Names(text)
		if err != nil || len(found) != len(names) {
			t.Fatalf("expected %v, got %v, %v", names, found, err)
		}
		filled, err := secrets.Fill(text, names)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := normal(t, filled), normal(t, []byte(fmt.Sprintf(`{"params":%s}`, expected(t, params["params"], names)))); got != want {
			t.Fatalf("expected %s, got %s", want, got)
		}
		if len(names) == 0 && !bytes.Equal(filled, text) {
			t.Fatalf("expected %s as it was, got %s", text, filled)
		}
	})
}

func parameters(t *rapid.T, names map[string]string, depth int) any {
	switch kind := rapid.IntRange(0, 6).Draw(t, "kind"); {
	case kind == 0:
		name := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,8}`).Draw(t, "name")
		names[name] = rapid.String().Draw(t, "value")
		return map[string]any{"secretRef": name}
	case kind == 1:
		return map[string]any{"secretRef": "", "value": rapid.String().Draw(t, "text")}
	case kind == 2 || depth == 0:
		return rapid.SampledFrom([]any{"secretRef", "<&>", nil, true, 1.5, json.Number("12345678901234567890")}).Draw(t, "leaf")
	case kind == 3:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, parameters(t, names, depth-1))
		}
		return list
	default:
		object := map[string]any{}
		for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z<]{1,3}`), 0, 3, rapid.ID[string]).Draw(t, "keys") {
			object[key] = parameters(t, names, depth-1)
		}
		return object
	}
}

// expected returns a value with its references replaced, as JSON.
func expected(t *rapid.T, value any, names map[string]string) []byte {
	var replace func(value any) any
	replace = func(value any) any {
		switch value := value.(type) {
		case map[string]any:
			if name, ok := value["secretRef"].(string); ok && name != "" {
				return map[string]any{"secretRef": name, "value": names[name]}
			}
			made := map[string]any{}
			for key, inner := range value {
				made[key] = replace(inner)
			}
			return made
		case []any:
			made := []any{}
			for _, inner := range value {
				made = append(made, replace(inner))
			}
			return made
		default:
			return value
		}
	}
	text, err := json.Marshal(replace(value))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func normal(t *rapid.T, text []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	made, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(made)
}

func TestSecretsAreRedactedInTexts(t *testing.T) {
	params := []byte(`{"a":{"secretRef":"","value":"hunter2"},"b":[{"secretRef":"n","value":"swordfish"}],"c":{"value":"stays"}}`)
	texts := secrets.Texts(params)
	if got := secrets.Hide("hunter2 and swordfish, which stays", texts); got != "[secret] and [secret], which stays" {
		t.Errorf("got %s", got)
	}
	for _, texts := range [][]string{{"pass", "password-2"}, {"password-2", "pass"}} {
		if got := secrets.Hide("it is password-2", texts); got != "it is [secret]" {
			t.Errorf("expected no part of the longer one, got %s", got)
		}
	}
	if got := secrets.Hide("line 2: expected JSON, got key-of-two", []string{"key-of-one\r\nkey-of-two"}); strings.Contains(got, "key-of") {
		t.Errorf("expected no line of a secret, got %s", got)
	}
	for _, shown := range []string{`"two\nlines \"x\" \\"`, `'two\nlines "x" \\'`, "two\nlines \"x\" \\"} {
		if got := secrets.Hide("got "+shown, []string{"two\nlines \"x\" \\"}); strings.Contains(got, "lines") {
			t.Errorf("expected no quoted secret, got %s", got)
		}
	}
}
