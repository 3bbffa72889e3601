package iprestriction_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	iprestriction "gatewright.dev/policies/ip-restriction"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = iprestriction.GetPolicy

// refused returns the status that the client gets; 0: the request passes.
func refused(t *testing.T, params, client string) int {
	t.Helper()
	policy, err := iprestriction.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{ClientAddress: client})
	if err != nil {
		t.Fatal(err)
	}
	if answer, ok := action.(*v1alpha.ImmediateResponse); ok {
		return answer.StatusCode
	}
	return 0
}

func TestAdmittedClients(t *testing.T) {
	for _, test := range []struct {
		params, client string
		want           int
	}{
		{`{"allow": ["10.0.0.0/8"], "statusCode": 403}`, "10.255.0.1:4711", 0},
		{`{"allow": ["10.0.0.0/8"], "statusCode": 403}`, "11.0.0.1:4711", 403},
		{`{"allow": ["10.0.0.0/8"], "statusCode": 404}`, "[2001:db8::1]:4711", 404},
		{`{"allow": ["10.0.0.0/8"], "statusCode": 403}`, "[::ffff:10.0.0.1]:4711", 0},
		{`{"allow": ["::ffff:10.0.0.1"], "statusCode": 403}`, "10.0.0.1:4711", 0},
		{`{"allow": ["2001:db8::/32"], "statusCode": 403}`, "[2001:db8:1::1]:4711", 0},
		{`{"allow": ["2001:db8::/32"], "statusCode": 403}`, "[2001:db9::1]:4711", 403},
		{`{"allow": ["fe80::1"], "statusCode": 403}`, "[fe80::1%eth0]:4711", 0},
		{`{"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"], "statusCode": 403}`, "10.1.2.3:1", 403},
		{`{"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"], "statusCode": 403}`, "10.2.2.3:1", 0},
		{`{"deny": ["192.0.2.7"], "statusCode": 403}`, "192.0.2.7:0", 403},
		{`{"deny": ["192.0.2.7"], "statusCode": 403}`, "192.0.2.8:0", 0},
		{`{"allow": ["0.0.0.0/0"], "statusCode": 403}`, "192.0.2.8:0", 0},
		{`{"allow": ["0.0.0.0/0"], "statusCode": 403}`, "[::1]:0", 403},
		{`{"deny": ["::/0"], "statusCode": 403}`, "192.0.2.8:0", 0},
	} {
		if got := refused(t, test.params, test.client); got != test.want {
			t.Errorf("%s from %s: expected %d, got %d", test.params, test.client, test.want, got)
		}
	}
}

// TestLookupAgreesWithEachNetwork compares look-ups with a search of all networks.
func TestLookupAgreesWithEachNetwork(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(4)), byte(random.IntN(256))})
	}
	for range 200 {
		var prefixes []netip.Prefix
		var texts []string
		for range 1 + random.IntN(8) {
			prefix, _ := address().Prefix(8 + random.IntN(25))
			prefixes, texts = append(prefixes, prefix), append(texts, fmt.Sprintf("%q", prefix))
		}
		params := fmt.Sprintf(`{"allow": [%s], "statusCode": 403}`, strings.Join(texts, ","))
		for range 20 {
			client := address()
			want := 403
			for _, prefix := range prefixes {
				if prefix.Contains(client) {
					want = 0
				}
			}
			if got := refused(t, params, netip.AddrPortFrom(client, 1).String()); got != want {
				t.Fatalf("%s from %s: expected %d, got %d", params, client, want, got)
			}
		}
	}
}

func TestInvalidNetworksAreRefused(t *testing.T) {
	for network, want := range map[string]string{
		"10.0.0.1/8":          "did you mean 10.0.0.0/8?",
		"10.0.0.256":          "expected an address",
		"10.0.0.0/33":         "expected a network",
		"::ffff:10.0.0.0/104": "in IPv4 notation",
		"1.2.3":               "expected an address",
	} {
		for _, field := range []string{"allow", "deny"} {
			_, err := iprestriction.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(fmt.Sprintf(`{%q: ["::1", %q]}`, field, network)))
			if err == nil || !strings.Contains(err.Error(), field+"[1]: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: expected an error with %q, got %v", network, want, err)
			}
		}
	}
}

func TestAnInvalidAddressIsAFailure(t *testing.T) {
	policy, err := iprestriction.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"deny": ["::1"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{ClientAddress: "unix"}); err == nil {
		t.Errorf("expected an error, got %v", action)
	}
}
