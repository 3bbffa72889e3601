package signedstate_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/signedstate"
	"gatewright.dev/policy-engine/internal/node/signedstate/signedstatetest"
)

const golden = "../../../../../conformance/signed-state/"

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func goldenAuthority(t *testing.T) signedstate.Authority {
	t.Helper()
	authority, err := signedstate.ReadAuthority(golden + "public.pem")
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// TestAControllersStateIsRead: gateway-controller/tests/signed_state/test_document.py writes it.
func TestAControllersStateIsRead(t *testing.T) {
	state, err := signedstate.Verify(read(t, golden+"state"), goldenAuthority(t))
	if err != nil {
		t.Fatal(err)
	}
	want := &nodev1.Update{Revision: 7, Gateway: &nodev1.Gateway{Digest: "3"}, Bundles: []*nodev1.ApiBundle{
		{Api: "orders", Digest: "1", Context: "/orders/v1.0", Version: "v1.0"},
		{Api: "unserved", Digest: "2", Context: "/unserved", Unserved: "no upstream"},
	}}
	if !maps.Equal(state.Labels, map[string]string{"tier": "edge", "zone": "eu"}) {
		t.Errorf("got the labels %v", state.Labels)
	}
	if !proto.Equal(state.Update, want) || state.Controller != "gateway-1" || state.Revision != 7 || !state.Made.Equal(time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v, %v", state.Head, state.Update)
	}
}

func TestEveryChangedBitIsRefused(t *testing.T) {
	document, authority := read(t, golden+"state"), goldenAuthority(t)
	for at := range document {
		for bit := range 8 {
			changed := slices.Clone(document)
			changed[at] ^= 1 << bit
			if _, err := signedstate.Verify(changed, authority); err == nil {
				t.Errorf("byte %d, bit %d: expected an error", at, bit)
			}
		}
	}
}

func TestSpoiltStatesAreRefused(t *testing.T) {
	document, authority, draw := read(t, golden+"state"), goldenAuthority(t), rand.New(rand.NewPCG(30, 81))
	for range 5000 {
		begin, end := draw.IntN(len(document)+1), draw.IntN(len(document)+1)
		begin, end = min(begin, end), max(begin, end)
		inserted := make([]byte, draw.IntN(4))
		for i := range inserted {
			inserted[i] = byte(draw.UintN(256))
		}
		spoilt := slices.Concat(document[:begin], inserted, document[end:])
		if _, err := signedstate.Verify(spoilt, authority); err == nil && !slices.Equal(spoilt, document) {
			t.Errorf("expected an error for %q", spoilt)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	document := string(read(t, golden+"state"))
	for text, want := range map[string]string{
		"":                              `expected a file whose first line is "gatewright-signed-state 1", got another`,
		"gatewright-signed-state 2\n{}": "expected a file whose first line is",
		"gatewright-signed-state 1\n{}": "expected a head and a signature",
		"gatewright-signed-state 1\n{}\n" + strings.Repeat("x", 128) + "\n": "expected a head in JSON",
		"gatewright-signed-state 1\n{}\n" + strings.Repeat("0", 128) + "\n": "expected a state that is signed by the key 56475aa75463474c, got one by the key",
		document[:len(document)-1]:       "it is cut short; fetch it again",
		document + "x":                   "it is longer",
		document[:len(document)-1] + "x": "got damaged bytes",
		strings.Replace(document, `"revision":7`, `"revision":8`, 1): "expected a signature of the key",
	} {
		if _, err := signedstate.Verify([]byte(text), goldenAuthority(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: expected %q, got %v", text, want, err)
		}
	}
}

func TestAnAuthorityIsAFileOfPublicKeys(t *testing.T) {
	folder := t.TempDir()
	other := signedstatetest.NewKey(t, folder).Public
	both := filepath.Join(folder, "both.pem")
	if err := os.WriteFile(both, append(read(t, other), read(t, golden+"public.pem")...), 0o600); err != nil {
		t.Fatal(err)
	}
	authority, err := signedstate.ReadAuthority(both)
	if err != nil || len(authority) != 2 {
		t.Fatalf("expected two keys, got %v, %v", authority, err)
	}
	if _, err := signedstate.Verify(read(t, golden+"state"), authority); err != nil {
		t.Errorf("expected one key to be enough, got %v", err)
	}
	for content, want := range map[string]string{
		"": "got none",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "got a block PRIVATE KEY with other content",
	} {
		if err := os.WriteFile(both, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := signedstate.ReadAuthority(both); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}
