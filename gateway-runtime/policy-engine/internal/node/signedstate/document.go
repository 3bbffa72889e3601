// Package signedstate reads the state that a controller has signed, from the places that a node starts from without one.
package signedstate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// A document consists of three lines and a serialized Update: the magic line, the head as JSON, and the signature of both
// (Ed25519, RFC 8032) in hex. The head binds the update by size and SHA-256. The controller writes it: signed_state/document.py.
const (
	magic           = "gatewright-signed-state 1\n"
	mostHeadBytes   = 16384 // 64 labels have 8.5 KB
	signatureDigits = 128
	makeAnew        = "fetch it again, or export it anew"
)

// MostBytes is the limit of a document.
const MostBytes = 512 << 20

// Head describes a state.
type Head struct {
	Controller string            `json:"controller"` // that made it
	Made       time.Time         `json:"made"`
	Revision   uint64            `json:"revision"` // of the newest write in it
	Labels     map[string]string `json:"labels"`   // of the nodes that it is for: it has what they run; nil: of any nodes
	Size       int               `json:"size"`     // of the serialized update
	Digest     string            `json:"digest"`   // SHA-256 of the serialized update, hex
	Key        string            `json:"key"`      // names the public key of the signature
}

// State is a state whose signature is right.
type State struct {
	Head
	Update *nodev1.Update
	Place  string // where it is from, without what a URL keeps secret
}

// Verify returns the state in a document. An error says what was expected, what came, and the cure.
func Verify(document []byte, authority Authority) (*State, error) {
	signed, head, signature, content, err := split(document)
	if err != nil {
		return nil, err
	}
	key, known := authority[head.Key]
	switch digest := sha256.Sum256(content); {
	case !known:
		return nil, fmt.Errorf("expected a state that is signed by the key %s, got one by the key %.16q: name the public key of the controller that made it", authority.names(), head.Key)
	case !key.verify(signed, signature):
		return nil, fmt.Errorf("expected a signature of the key %s, got another one: it was changed or damaged; %s", head.Key, makeAnew)
	case len(content) < head.Size:
		return nil, fmt.Errorf("expected %d bytes of state, got %d: it is cut short; %s", head.Size, len(content), makeAnew)
	case len(content) > head.Size:
		return nil, fmt.Errorf("expected %d bytes of state, got %d: it is longer; %s", head.Size, len(content), makeAnew)
	case hex.EncodeToString(digest[:]) != head.Digest:
		return nil, fmt.Errorf("expected a state with the digest that its head names, got damaged bytes; %s", makeAnew)
	}
	update := &nodev1.Update{}
	if err := proto.Unmarshal(content, update); err != nil {
		return nil, fmt.Errorf("expected a serialized gatewright.node.v1.Update, got other bytes: %w", err)
	}
	return &State{Head: *head, Update: update}, nil
}

// lacks returns the first label, as KEY=VALUE, of a node that the state is not for: what this node alone runs is missing; "": the
// state has all that a node with these labels runs.
func (h *Head) lacks(labels map[string]string) string {
	if h.Labels == nil {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if value, ok := h.Labels[key]; !ok || value != labels[key] {
			return key + "=" + labels[key]
		}
	}
	return ""
}

// labelsText formats labels: "tier=edge, zone=eu"; "no labels" for none.
func labelsText(labels map[string]string) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		texts = append(texts, key+"="+labels[key])
	}
	return cmp.Or(strings.Join(texts, ", "), "no labels")
}

// split returns the parts of a document: the signed lines, the head in them, the signature, and the serialized update.
func split(document []byte) (signed []byte, head *Head, signature, content []byte, err error) {
	if len(document) > MostBytes {
		return nil, nil, nil, nil, errTooLarge
	}
	rest, found := bytes.CutPrefix(document, []byte(magic))
	if !found {
		return nil, nil, nil, nil, fmt.Errorf("expected a file whose first line is %q, got another: name a signed state", magic[:len(magic)-1])
	}
	line, rest, found := bytes.Cut(rest, []byte("\n"))
	if !found || len(line) > mostHeadBytes || len(rest) <= signatureDigits || rest[signatureDigits] != '\n' {
		return nil, nil, nil, nil, fmt.Errorf("expected a head and a signature, got lines without them; %s", makeAnew)
	}
	head = &Head{}
	err = json.Unmarshal(line, head)
	digits := string(rest[:signatureDigits])
	signature, hexErr := hex.DecodeString(digits)
	if err = errors.Join(err, hexErr); err != nil || hex.EncodeToString(signature) != digits {
		return nil, nil, nil, nil, fmt.Errorf("expected a head in JSON and a signature in hex, got others; %s", makeAnew)
	}
	return document[:len(magic)+len(line)+1], head, signature, rest[signatureDigits+1:], nil
}

var errTooLarge = fmt.Errorf("expected a state of at most %d bytes, got more: name another", MostBytes)
