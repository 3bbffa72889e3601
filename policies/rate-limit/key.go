package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// hash names what is counted. It is all that is kept of what a client has sent: as long as any other, and no secret.
type hash [16]byte

// part is one of what keys are made of.
type part struct {
	From  string `json:"from"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

type key struct {
	operation string // that the policy is attached to
	parts     []part
}

// ipv6Bits of an address are a client: who has one address has the others of its network, too.
const ipv6Bits = 64

func newKey(operation string, parts []part) key {
	made := key{operation: operation}
	for _, one := range parts {
		if one.From == "header" {
			one.Name = strings.ToLower(one.Name)
		}
		made.parts = append(made.parts, one)
	}
	return made
}

// of is the key of a request. Each part stands behind its length, so that no value of one reads as parts of another; a
// part that is not there is none that is empty.
func (k key) of(req *v1alpha.RequestContext) (hash, error) {
	text := appendPart(make([]byte, 0, 256), k.operation, true)
	for _, one := range k.parts {
		value, there, err := one.of(req)
		if err != nil {
			return hash{}, err
		}
		text = appendPart(text, value, there)
	}
	sum := sha256.Sum256(text)
	return hash(sum[:16]), nil
}

func appendPart(text []byte, value string, there bool) []byte {
	length := uint64(0)
	if there {
		length = uint64(len(value)) + 1
	}
	return append(binary.AppendUvarint(text, length), value...)
}

func (p part) of(req *v1alpha.RequestContext) (value string, there bool, err error) {
	switch p.From {
	case "client":
		value, err = network(req.ClientAddress)
		return value, true, err
	case "identity":
		value, there = identity(req)
		return value, there, nil
	case "header":
		return header(req.Headers, p.Name)
	case "query":
		value, there = query(req.Query, p.Name)
		return value, there, nil
	case "path":
		return req.Path, true, nil
	case "pathParameter":
		return req.PathParams.Get(p.Name), req.PathParams.Has(p.Name), nil
	case "method":
		return req.Method, true, nil
	case "operation":
		return req.Operation, true, nil
	default:
		return p.Value, true, nil
	}
}

func network(client string) (string, error) {
	at, err := netip.ParseAddrPort(client)
	if err != nil {
		return "", fmt.Errorf("expected the client's address as ip:port, got %q", client)
	}
	address := at.Addr().WithZone("").Unmap()
	if address.Is6() {
		prefix, err := address.Prefix(ipv6Bits)
		if err != nil {
			return "", err
		}
		address = prefix.Addr()
	}
	return string(address.AsSlice()), nil
}

// identity is what a policy before has found: ctx.identity in Python.
func identity(req *v1alpha.RequestContext) (string, bool) {
	said, _ := req.Metadata.Get("identity")
	members, ok := said.(map[string]any)
	if !ok {
		return "", false
	}
	subject, ok := members["subject"].(string)
	issuer, _ := members["issuer"].(string)
	return string(appendPart(appendPart(nil, issuer, true), subject, true)), ok
}

func header(headers v1alpha.Headers, name string) (string, bool, error) {
	for _, one := range headers {
		if one.Name == name {
			return one.Value, true, nil
		}
	}
	return "", false, nil
}

// query is the first value of a name. What cannot be decoded is taken as it is written.
func query(text, name string) (string, bool) {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, "&")
		key, value, _ := strings.Cut(one, "=")
		if decoded(key) == name {
			return decoded(value), true
		}
	}
	return "", false
}

func decoded(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
