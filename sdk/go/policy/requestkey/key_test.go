package requestkey_test

import (
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/requestkey"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestNoKeyHasTheHashesOfAnother: two attachments may share a store, and a client may send anything.
func TestNoKeyHasTheHashesOfAnother(t *testing.T) {
	req := &v1alpha.RequestContext{
		ClientAddress: "[2001:db8::7]:1", Method: "x", Path: "x", Operation: "x", Query: "a=x&%62=x",
		Headers: v1alpha.Headers{{Name: "a", Value: "x"}, {Name: "b", Value: "x"}}, Metadata: &v1alpha.ExchangeMetadata{},
	}
	part := func(from, name string) []requestkey.Part { return []requestkey.Part{{From: from, Name: name}} }
	seen := map[requestkey.Hash]string{}
	for name, key := range map[string]requestkey.Key{
		"none":              requestkey.New("", nil),
		"a name":            requestkey.New("", nil, "a"),
		"another name":      requestkey.New("", nil, "b"),
		"an operation":      requestkey.New("a", nil),
		"a header":          requestkey.New("", part("header", "A")),
		"another header":    requestkey.New("", part("header", "b")),
		"a parameter":       requestkey.New("", part("query", "a")),
		"another":           requestkey.New("", part("query", "b")),
		"none such":         requestkey.New("", part("query", "c")),
		"path":              requestkey.New("", part("path", "")),
		"method":            requestkey.New("", part("method", "")),
		"operation":         requestkey.New("", part("operation", "")),
		"constant":          requestkey.New("", []requestkey.Part{{From: "constant", Value: "x"}}),
		"identity":          requestkey.New("", part("identity", "")),
		"path parameter":    requestkey.New("", part("pathParameter", "a")),
		"client":            requestkey.New("", part("client", "")),
		"names as a header": requestkey.New("", nil, "header", "a", "x"),
		"client and names":  requestkey.New("", part("client", ""), "a", "b"),
	} {
		hash, err := key.Of(req)
		if err != nil {
			t.Fatal(name, err)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("expected hashes that differ, got one for %q and %q", name, other)
		}
		seen[hash] = name
		if again, _ := key.Of(req); again != hash || len(hash.String()) != 32 {
			t.Errorf("%s: expected the same hash again, got %s and %s", name, hash, again)
		}
	}
}

// TestTwoValuesAreCountedTogether: upstream may use either value, so a client that adds a random one must not get a new key.
func TestTwoValuesAreCountedTogether(t *testing.T) {
	for from, request := range map[string]func(values ...string) *v1alpha.RequestContext{
		"query": func(values ...string) *v1alpha.RequestContext {
			return &v1alpha.RequestContext{Query: "z=&%61=" + strings.Join(values, "&b=1&a=")}
		},
		"header": func(values ...string) *v1alpha.RequestContext {
			req := &v1alpha.RequestContext{}
			for _, value := range values {
				req.Headers = append(req.Headers, v1alpha.Header{Name: "a", Value: value})
			}
			return req
		},
	} {
		key := requestkey.New("", []requestkey.Part{{From: from, Name: "a"}})
		of := func(values ...string) requestkey.Hash {
			hash, err := key.Of(request(values...))
			if err != nil {
				t.Fatal(err)
			}
			return hash
		}
		if of("x", "v") != of("y", "v") || of("v", "v") != of("v", "x", "y") {
			t.Errorf("%s: expected one hash for all that have several values", from)
		}
		if several := of("x", "v"); several == of("v") || several == of("x") || several == of("") {
			t.Errorf("%s: expected another one than of a single value", from)
		}
	}
}

func TestAClientIsItsNetwork(t *testing.T) {
	key := requestkey.New("", []requestkey.Part{{From: "client"}})
	of := func(address string) requestkey.Hash {
		hash, err := key.Of(&v1alpha.RequestContext{ClientAddress: address})
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	if of("[2001:db8::1]:1") != of("[2001:db8::2]:2") || of("[2001:db8::1]:1") == of("[2001:db8:0:1::1]:1") {
		t.Error("expected the first 64 bits of an IPv6 address to count")
	}
	if of("192.0.2.1:1") != of("[::ffff:192.0.2.1]:2") || of("192.0.2.1:1") == of("192.0.2.2:1") {
		t.Error("expected all of an IPv4 address to count, however it is written")
	}
	if _, err := key.Of(&v1alpha.RequestContext{ClientAddress: "unix"}); err == nil {
		t.Error("expected an error of an address that is none")
	}
}
