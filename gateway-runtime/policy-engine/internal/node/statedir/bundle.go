package statedir

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// Bundle is an API's bundle as a node keeps it: compressed, since it is read again only to be stored, or to build its chains
// anew. It is immutable.
type Bundle struct {
	API    string
	Digest string // empty: the API is not served, and the bundle says why
	packed []byte
	broken error // why it could not be packed
}

// Broken stands for a bundle that could not be packed: its Message is the error.
func Broken(message *nodev1.ApiBundle, err error) *Bundle {
	return &Bundle{API: message.GetApi(), Digest: message.GetDigest(), broken: err}
}

// Pack packs a bundle.
func Pack(message *nodev1.ApiBundle) (*Bundle, error) {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("serialize the bundle of %s: %w", message.GetApi(), err)
	}
	return &Bundle{API: message.GetApi(), Digest: message.GetDigest(), packed: bytes.Clone(s2.EncodeBetter(nil, text))}, nil
}

// Message returns the bundle.
func (b *Bundle) Message() (*nodev1.ApiBundle, error) {
	message := &nodev1.ApiBundle{}
	text, err := b.text()
	if err == nil {
		err = proto.Unmarshal(text, message)
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept bundle of %s: %w", b.API, err)
	}
	return message, nil
}

// text returns the serialized bundle.
func (b *Bundle) text() ([]byte, error) {
	if b.broken != nil {
		return nil, b.broken
	}
	return s2.Decode(nil, b.packed)
}

// GetDigest returns the digest; "" without a bundle.
func (b *Bundle) GetDigest() string {
	if b == nil {
		return ""
	}
	return b.Digest
}
