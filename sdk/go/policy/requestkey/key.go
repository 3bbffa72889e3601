// Package requestkey computes which requests a policy counts together: those with equal values of all parts in its parameters.
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

// Hash identifies what is counted. Of a client's data only the hash is kept: it has a fixed length, and reveals no secret.
type Hash [16]byte

// String returns the hash in 32 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Part is a part of a key, as written in parameters. From is client, identity, consumer, header, query, path,
// pathParameter, method, operation or constant; Name belongs to header, query and pathParameter, Value to constant.
type Part struct {
	From  string `json:"from"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Key makes hashes of requests. It is immutable.
type Key struct {
	begin []byte // the common beginning of all of its hashes
	parts []Part
}

// ipv6Bits of an address identify a client: a client with one address has the others of its network, too.
const ipv6Bits = 64

// New makes a key. Other parts, another operation that the policy is attached to, and other names make other
// hashes, whatever a client sends. Part.From must be one of those that Part lists, which a policy's schema ensures.
func New(operation string, parts []Part, names ...string) Key {
	key := Key{begin: binary.AppendUvarint(appendPart(nil, operation, true), uint64(len(names)))}
	for _, name := range names {
		key.begin = appendPart(key.begin, name, true)
	}
	for _, part := range parts {
		if part.From == "header" {
			part.Name = strings.ToLower(part.Name)
		}
		key.begin = appendPart(appendPart(key.begin, part.From, true), part.Name, true)
		key.parts = append(key.parts, part)
	}
	return key
}

// Of returns the hash of a request. Each part is preceded by its length, so that no value reads as parts of another; a
// missing part differs from an empty one. Requests with several values of a header or a parameter are counted
// together, whatever the values are, since upstream may use any of them. It returns an error if the client's address cannot be
// read.
func (k Key) Of(req *v1alpha.RequestContext) (Hash, error) {
	text := append(make([]byte, 0, 256), k.begin...)
	for _, part := range k.parts {
		values, err := part.of(req)
		if err != nil {
			return Hash{}, err
		}
		text = values.appendTo(text)
	}
	sum := sha256.Sum256(text)
	return Hash(sum[:16]), nil
}

// values are a request's values of a part: one, none (count 0), or several, of which the first is not used.
type values struct {
	first string
	count int
}

func single(value string) values { return values{value, 1} }

func (v values) appendTo(text []byte) []byte {
	switch v.count {
	case 0, 1:
		return appendPart(text, v.first, v.count == 1)
	default:
		return binary.AppendUvarint(text, math.MaxUint64) // longer than any value
	}
}

func (v *values) add(value string) {
	if v.count++; v.count == 1 {
		v.first = value
	}
}

func appendPart(text []byte, value string, present bool) []byte {
	length := uint64(0)
	if present {
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
	case "consumer":
		client, ok := v1alpha.IdentityOf(req.Metadata)
		if !ok || client.Consumer == "" {
			return values{}, nil
		}
		return single(client.Consumer), nil
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

// identity returns the value set by an earlier policy: ctx.identity in Python.
func identity(req *v1alpha.RequestContext) values {
	value, _ := req.Metadata.Get(v1alpha.IdentityKey)
	members, ok := value.(map[string]any)
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

func header(headers v1alpha.Headers, name string) (result values) {
	for _, h := range headers {
		if h.Name == name {
			result.add(h.Value)
		}
	}
	return result
}

// query returns the values of a name. A value that cannot be decoded is used as written.
func query(text, name string) (result values) {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		if key, value, _ := strings.Cut(pair, "="); decode(key) == name {
			result.add(decode(value))
		}
	}
	return result
}

func decode(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
