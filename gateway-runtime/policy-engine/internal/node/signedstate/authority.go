package signedstate

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Authority is the public keys whose signature counts, by their names: several while one takes another's place.
type Authority map[string]publicKey

type publicKey ed25519.PublicKey

func (k publicKey) verify(signed, signature []byte) bool {
	return ed25519.Verify(ed25519.PublicKey(k), signed, signature)
}

func (a Authority) names() string { return strings.Join(slices.Sorted(maps.Keys(a)), " or ") }

// ReadAuthority reads the public keys in a PEM file.
func ReadAuthority(path string) (Authority, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	authority := Authority{}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, isOurs := parsed.(ed25519.PublicKey)
		if err != nil || !isOurs {
			return nil, fmt.Errorf("%s: expected one or more public Ed25519 keys in PEM, got a block %s with other content: `gatewright state key` makes a pair", path, block.Type)
		}
		digest := sha256.Sum256(key)
		authority[hex.EncodeToString(digest[:])[:16]] = publicKey(key)
	}
	if len(authority) == 0 {
		return nil, fmt.Errorf("%s: expected one or more public Ed25519 keys in PEM, got none: `gatewright state key` makes a pair", path)
	}
	return authority, nil
}
