// Package signedstatetest signs states for tests, as a controller does.
package signedstatetest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/signedstate"
)

// Key is a pair that signs states.
type Key struct {
	Public  string // PEM file
	private ed25519.PrivateKey
}

// NewKey makes a pair.
func NewKey(t *testing.T, folder string) *Key {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := &Key{Public: filepath.Join(folder, "key.pub.pem"), private: private}
	if err := os.WriteFile(key.Public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key
}

// Sign makes the document of an update, for nodes with any labels.
func (k *Key) Sign(t *testing.T, update *nodev1.Update, made time.Time) []byte {
	t.Helper()
	return k.SignFor(t, nil, update, made)
}

// SignFor makes the document of an update for nodes with these labels; nil: with any.
func (k *Key) SignFor(t *testing.T, labels map[string]string, update *nodev1.Update, made time.Time) []byte {
	t.Helper()
	content, err := proto.Marshal(update)
	if err != nil {
		t.Fatal(err)
	}
	public := sha256.Sum256(k.private.Public().(ed25519.PublicKey))
	digest := sha256.Sum256(content)
	head, err := json.Marshal(signedstate.Head{Controller: "c", Made: made, Revision: update.GetRevision(), Labels: labels, Size: len(content),
		Digest: hex.EncodeToString(digest[:]), Key: hex.EncodeToString(public[:])[:16]})
	if err != nil {
		t.Fatal(err)
	}
	signed := "gatewright-signed-state 1\n" + string(head) + "\n"
	return slices.Concat([]byte(signed), []byte(hex.EncodeToString(ed25519.Sign(k.private, []byte(signed)))), []byte("\n"), content)
}
