// Package requestkey says which requests a policy counts together: those that have the same of what its parameters name.
package requestkey

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Hash names what is counted. It is all that is kept of what a client has sent: as long as any other, and no secret.
type Hash [16]byte

// String is the hash in 32 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Part is one of what keys are made of, as parameters write it. From is client, identity, header, query, path,
// pathParameter, method, operation or constant; Name is of header, query and pathParameter, Value of constant.
type Part struct {
	From  string `json:"from"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Key makes hashes of requests. It does not change.
type Key struct {
	begin []byte // what all of its hashes have in common
	parts []Part
}

// ipv6Bits of an address are a client: who has one address has the others of its network, too.
const ipv6Bits = 64

// New makes a key. Other parts, another operation that the policy is attached to, and other names that it gives make other
// hashes, whatever a client sends. Part.From is what Part lists: a policy's schema sees to that.
func New(operation string, parts []Part, names ...string) Key {
	made := Key{begin: binary.AppendUvarint(appendPart(nil, operation, true), uint64(len(names)))}
	for _, name := range names {
		made.begin = appendPart(made.begin, name, true)
	}
	for _, one := range parts {
		if one.From == "header" {
			one.Name = strings.ToLower(one.Name)
		}
		made.begin = appendPart(appendPart(made.begin, one.From, true), one.Name, true)
		made.parts = append(made.parts, one)
	}
	return made
}

// Of is the hash of a request. Each part stands behind its length, so that no value of one reads as parts of another; a
// part that is not there is none that is empty. Requests with several values of a header or a parameter are counted
// together, whatever these are: upstream may go by any of them. An error: the request has no client's address that can be
// read.
func (k Key) Of(req *v1alpha.RequestContext) (Hash, error) {
	text := append(make([]byte, 0, 256), k.begin...)
	for _, one := range k.parts {
		values, err := one.of(req)
		if err != nil {
			return Hash{}, err
		}
		text = values.appendTo(text)
	}
	sum := sha256.Sum256(text)
	return Hash(sum[:16]), nil
}

// values are what a request has of a part: the one, none (count 0), or several, of which the first says nothing.
type values struct {
	one   string
	count int
}

func single(value string) values { return values{value, 1} }

func (v values) appendTo(text []byte) []byte {
	switch v.count {
	case 0, 1:
		return appendPart(text, v.one, v.count == 1)
	default:
		return binary.AppendUvarint(text, math.MaxUint64) // no value is so long
	}
}

func (v *values) add(value string) {
	if v.count++; v.count == 1 {
		v.one = value
	}
}

func appendPart(text []byte, value string, there bool) []byte {
	length := uint64(0)
	if there {
		length = uint64(len(value)) + 1
	}
	return append(binary.AppendUvarint(text, length), value...)
}

func (p Part) of(req *v1alpha.RequestContext) (values, error) {
	switch p.From {
	case "client":
		value, err := network(req.ClientAddress)
		return single(value), err
	case "identity":
		return identity(req), nil
	case "header":
		return header(req.Headers, p.Name), nil
	case "query":
		return query(req.Query, p.Name), nil
	case "path":
		return single(req.Path), nil
	case "pathParameter":
		if !req.PathParams.Has(p.Name) {
			return values{}, nil
		}
		return single(req.PathParams.Get(p.Name)), nil
	case "method":
		return single(req.Method), nil
	case "operation":
		return single(req.Operation), nil
	default:
		return single(p.Value), nil
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
func identity(req *v1alpha.RequestContext) values {
	said, _ := req.Metadata.Get(v1alpha.IdentityKey)
	members, ok := said.(map[string]any)
	if !ok {
		return values{}
	}
	subject, ok := members["subject"].(string)
	if !ok {
		return values{}
	}
	issuer, _ := members["issuer"].(string)
	return single(string(appendPart(appendPart(nil, issuer, true), subject, true)))
}

func header(headers v1alpha.Headers, name string) (found values) {
	for _, one := range headers {
		if one.Name == name {
			found.add(one.Value)
		}
	}
	return found
}

// query has the values of a name. What cannot be decoded is taken as it is written.
func query(text, name string) (found values) {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, "&")
		if key, value, _ := strings.Cut(one, "="); decoded(key) == name {
			found.add(decoded(value))
		}
	}
	return found
}

func decoded(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
