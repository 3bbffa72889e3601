package signedstate_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/signedstate"
	"gatewright.dev/policy-engine/internal/node/signedstate/signedstatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// places is a folder with a state of revision 4, an hour old, and what a node needs to start from it.
type places struct {
	folder, state string
	document      []byte
	sources       *signedstate.Sources
	key           *signedstatetest.Key
}

func newPlaces(t *testing.T) *places {
	t.Helper()
	folder := t.TempDir()
	key := signedstatetest.NewKey(t, folder)
	p := &places{folder: folder, key: key, document: key.Sign(t, &nodev1.Update{Revision: 4}, time.Now().Add(-time.Hour))}
	p.state = p.write(t, "state", p.document)
	p.sources = &signedstate.Sources{Authority: key.Public}
	return p
}

func (p *places) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(p.folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads from places, after a check of the options.
func (p *places) load(t *testing.T, from ...string) (*signedstate.State, error) {
	t.Helper()
	p.sources.Places = from
	if err := p.sources.Check(); err != nil {
		t.Fatal(err)
	}
	return p.sources.Load(context.Background())
}

// serve answers requests with the document; seen are their URLs and tokens.
func (p *places) serve(t *testing.T, new func(http.Handler) *httptest.Server) (server *httptest.Server, seen map[string]string) {
	t.Helper()
	seen = map[string]string{}
	server = new(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen[r.URL.String()] = r.Header.Get("Authorization")
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/bucket/state", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "/away", http.StatusFound)
		case "/cut":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(p.document)
		case "/missing":
			http.NotFound(w, r)
		default:
			_, _ = w.Write(p.document)
		}
	}))
	t.Cleanup(server.Close)
	return server, seen
}

func TestTheFirstPlaceWithAUsableStateCounts(t *testing.T) {
	p := newPlaces(t)
	cut := p.write(t, "cut", p.document[:len(p.document)-1])
	state, err := p.load(t, filepath.Join(p.folder, "none"), cut, p.folder, p.state)
	if err != nil || state.Revision != 4 || state.Place != p.state {
		t.Fatalf("expected the last one, got %v, %v", state, err)
	}
	_, err = p.load(t, filepath.Join(p.folder, "none"), cut, p.folder, "/dev/zero")
	for _, want := range []string{"none: no such file", "cut: expected 2 bytes of state, got 1", "got a folder, a pipe or a device", "/dev/zero: expected a file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}

func TestAStateForOtherLabelsIsRefused(t *testing.T) {
	p := newPlaces(t)
	for name, c := range map[string]struct {
		of, node map[string]string
		expected string
	}{
		"for any":               {nil, map[string]string{"zone": "us"}, ""},
		"for the same":          {map[string]string{"zone": "us"}, map[string]string{"zone": "us"}, ""},
		"for more labels":       {map[string]string{"zone": "us", "tier": "edge"}, map[string]string{"zone": "us"}, ""},
		"for a node with none":  {map[string]string{"zone": "us"}, nil, ""},
		"for nodes without any": {map[string]string{}, map[string]string{"zone": "us"}, "got one for nodes with no labels, which lacks what nodes with zone=us run"},
		"for another": {map[string]string{"zone": "eu"}, map[string]string{"tier": "edge", "zone": "us"},
			"expected a state for nodes with tier=edge, zone=us, or with any labels, got one for nodes with zone=eu, which lacks what nodes with tier=edge run: export it with these labels, or without any"},
	} {
		t.Run(name, func(t *testing.T) {
			p.sources.Labels = c.node
			state, err := p.load(t, p.write(t, "labelled", p.key.SignFor(t, c.of, &nodev1.Update{Revision: 5}, time.Now())))
			switch {
			case c.expected == "" && (err != nil || state.Revision != 5):
				t.Errorf("expected the state, got %v, %v", state, err)
			case c.expected != "" && (err == nil || !strings.Contains(err.Error(), c.expected)):
				t.Errorf("expected %q, got %v", c.expected, err)
			}
		})
	}
}

func TestAStateCanBeTooOld(t *testing.T) {
	p := newPlaces(t)
	p.sources.Oldest = 2 * time.Hour
	if _, err := p.load(t, p.state); err != nil {
		t.Error(err)
	}
	p.sources.Oldest = time.Minute
	if _, err := p.load(t, p.state); err == nil || !strings.Contains(err.Error(), "expected a state that was made within 1m0s, got one of 20") {
		t.Errorf("expected an error, got %v", err)
	}
}

func TestABucketGetsNoTokenAndItsSignatureIsNotShown(t *testing.T) {
	p := newPlaces(t)
	p.sources.Token = p.write(t, "token", []byte("secret\n"))
	server, seen := p.serve(t, httptest.NewServer)
	bucket := strings.Replace(server.URL, "://", "://me:hidden@", 1)
	state, err := p.load(t, bucket+"/bucket/state?signature=hidden")
	if err != nil || state.Place != server.URL+"/bucket/state" {
		t.Fatalf("got %v, %v", state, err)
	}
	if _, err := p.load(t, server.URL+"/moved", server.URL+signedstate.Path); err != nil {
		t.Error(err)
	}
	for url, token := range seen {
		if strings.Contains(token, "Bearer") {
			t.Errorf("expected no token for %s, which is not encrypted, got %s", url, token)
		}
	}
	_, err = p.load(t, bucket+"/missing?signature=hidden", bucket+"/cut?signature=hidden", bucket+"/away?signature=hidden", "http://127.0.0.1:1/x?signature=hidden")
	for _, want := range []string{"/missing: expected the answer 200, got 404", "/cut: expected a whole state, got a part of it", "/away: it gave no answer: expected at most 3 redirects", "127.0.0.1:1/x: it gave no answer"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("expected %q and nothing hidden, got %v", want, err)
		}
	}
}

func TestAnotherNodeGetsTheTokenByTLSOnly(t *testing.T) {
	p := newPlaces(t)
	p.sources.Token = p.write(t, "token", []byte("secret\n"))
	server, seen := p.serve(t, httptest.NewTLSServer)
	server.Config.ErrorLog = nil
	if _, err := p.load(t, server.URL+signedstate.Path); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("expected its certificate to be refused, got %v", err)
	}
	p.sources.TLSAuthority = p.write(t, "tls.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for _, path := range []string{signedstate.Path, "/bucket/state"} {
		if _, err := p.load(t, server.URL+path); err != nil {
			t.Error(err)
		}
	}
	if seen[signedstate.Path] != "Bearer secret" || seen["/bucket/state"] != "" {
		t.Errorf("expected a token for the node alone, got %v", seen)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	p := newPlaces(t)
	p.sources.Places, p.sources.Authority, p.sources.Oldest = []string{"s3://bucket/x?key=hidden", ""}, "", -1
	p.sources.Token, p.sources.TLSAuthority = p.write(t, "empty", nil), p.state
	err := p.sources.Check()
	for _, want := range []string{
		"--state-from: expected a file or an http(s) URL, got s3://bucket/x\n", "--state-from: expected a file or an http(s) URL, got none",
		"--state-authority: expected a file of public keys beside --state-from, got none", "--state-oldest: expected a time like 24h",
		"--state-tls-authority: " + p.state + ": expected certificates (PEM), got none", "--state-token: " + p.sources.Token + ": expected one line with a token",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
	if err := (&signedstate.Sources{}).Check(); err != nil {
		t.Errorf("expected nothing to be wrong without places, got %v", err)
	}
}
