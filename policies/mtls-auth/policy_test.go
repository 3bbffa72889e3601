package mtlsauth_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	mtlsauth "gatewright.dev/policies/mtls-auth"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = mtlsauth.GetPolicy

const (
	fingerprint = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"
	defaults    = `"identity": "subject", "withoutCertificate": 403, "statusCode": 403`
)

// instance is a policy with these parameters over the defaults.
func instance(t testing.TB, params string) v1alpha.Policy {
	t.Helper()
	merged := map[string]any{}
	for _, text := range []string{"{" + defaults + "}", params} {
		if err := json.Unmarshal([]byte(text), &merged); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := mtlsauth.GetPolicy(v1alpha.Metadata{}, text)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func ask(t testing.TB, params string, peer *v1alpha.Peer) (v1alpha.RequestAction, any) {
	t.Helper()
	metadata := &v1alpha.ExchangeMetadata{}
	action, err := instance(t, params).OnRequest(t.Context(), &v1alpha.RequestContext{Peer: peer, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	identity, _ := metadata.Get("identity")
	return action, identity
}

// status returns the status of the refusal; 0: the request passes.
func status(t testing.TB, params string, peer *v1alpha.Peer) int {
	t.Helper()
	action, identity := ask(t, params, peer)
	if answer, ok := action.(*v1alpha.ImmediateResponse); ok {
		if identity != nil {
			t.Errorf("%s: expected no identity of a refused client, got %v", params, identity)
		}
		return answer.StatusCode
	}
	return 0
}

func TestAdmittedClients(t *testing.T) {
	named := func(peer *v1alpha.Peer) *v1alpha.Peer {
		if peer.Subject == "" {
			peer.Subject = "CN=x"
		}
		return peer
	}
	unread := &v1alpha.Peer{Fingerprint: fingerprint} // of a certificate whose names could not be read
	for _, test := range []struct {
		params string
		peer   *v1alpha.Peer
		want   int
	}{
		{`{}`, nil, 403},
		{`{"withoutCertificate": 401}`, nil, 401},
		{`{}`, named(&v1alpha.Peer{}), 0},
		{`{"allow": [{"subject": {"CN": "alice"}}]}`, &v1alpha.Peer{Subject: "CN=alice,O=Example"}, 0},
		{`{"allow": [{"subject": {"CN": "alice", "O": "Ex, \"amplé\" + Co"}}]}`, &v1alpha.Peer{Subject: `CN=alice,O=Ex\, \"amplé\" \+ Co`}, 0},
		{`{"allow": [{"subject": {"CN": "alice", "O": "Example"}}]}`, &v1alpha.Peer{Subject: "CN=alice+O=Example"}, 0},
		{`{"allow": [{"subject": {"DC": ["example", "org"]}}]}`, &v1alpha.Peer{Subject: "CN=a,DC=example,DC=org"}, 0},
		{`{"allow": [{"subject": {"DC": ["example", "org"]}}]}`, &v1alpha.Peer{Subject: "CN=a,DC=org,DC=example"}, 403},
		{`{"allow": [{"subject": {"CN": "alice"}}], "statusCode": 404}`, &v1alpha.Peer{Subject: "CN=mallory,CN=alice"}, 404},
		{`{"allow": [{"subject": {"CN": "alice"}}]}`, &v1alpha.Peer{Subject: `CN=mallory\,CN=alice`}, 403},
		{`{"allow": [{"subject": {"CN": "alice"}}]}`, &v1alpha.Peer{Subject: `O=x\+CN=alice`}, 403},
		{`{"allow": [{"subject": {"CN": "alice"}}]}`, &v1alpha.Peer{Subject: "CN=Alice"}, 403},
		{`{"allow": [{"subject": {"CN": "alice"}}]}`, &v1alpha.Peer{Subject: "CN=alice "}, 403},
		{`{"allow": [{"subject": {"CN": "#0c05616c696365"}}]}`, &v1alpha.Peer{Subject: "CN=#0c05616c696365"}, 403},
		{`{"allow": [{"subject": {"CN": "#x"}}]}`, &v1alpha.Peer{Subject: `CN=\#x`}, 0},
		{`{"allow": [{"subject": {"CN": "a\u0000b"}}]}`, &v1alpha.Peer{Subject: `CN=a\00b`}, 0},
		{`{"allow": [{"issuer": {"CN": "ca"}}]}`, named(&v1alpha.Peer{Issuer: "CN=ca"}), 0},
		{`{"allow": [{"issuer": {"CN": "ca"}}]}`, &v1alpha.Peer{Subject: "CN=ca", Issuer: "CN=other"}, 403},
		{`{"allow": [{"dnsNames": ["orders.example"]}]}`, named(&v1alpha.Peer{DNSNames: []string{"a", "Orders.Example"}}), 0},
		{`{"allow": [{"dnsNames": ["*.pods.example"]}]}`, named(&v1alpha.Peer{DNSNames: []string{"a.pods.example"}}), 0},
		{`{"allow": [{"dnsNames": ["*.pods.example"]}]}`, named(&v1alpha.Peer{DNSNames: []string{"pods.example", "a.b.pods.example", ".pods.example", "x,a.pods.example.evil"}}), 403},
		{`{"allow": [{"dnsNames": ["orders.example"]}]}`, named(&v1alpha.Peer{URIs: []string{"orders.example"}, Subject: "CN=orders.example"}), 403},
		{`{"allow": [{"uris": ["spiffe://example.org/ns/*/sa/orders"]}]}`, named(&v1alpha.Peer{URIs: []string{"spiffe://example.org/ns/blue/sa/orders"}}), 0},
		{`{"allow": [{"uris": ["spiffe://example.org/ns/*/sa/orders"]}]}`, named(&v1alpha.Peer{URIs: []string{
			"spiffe://example.org/ns/a/b/sa/orders", "spiffe://example.org/ns//sa/orders", "spiffe://example.org/ns/../sa/orders",
			"spiffe://example.org/ns/./sa/orders", "spiffe://evil.org/ns/blue/sa/orders", "spiffe://example.org/ns/blue/sa/orders/x",
			"SPIFFE://example.org/ns/blue/sa/orders", "spiffe://example.org/ns/blue/sa/Orders",
		}}), 403},
		{`{"allow": [{"uris": ["spiffe://example.org/a"]}]}`, named(&v1alpha.Peer{URIs: []string{"spiffe://example.org/a"}}), 0},
		{`{"allow": [{"uris": ["spiffe://example.org/a"]}]}`, named(&v1alpha.Peer{URIs: []string{"spiffe://example.org/a/"}}), 403},
		{`{"allow": [{"emailAddresses": ["alice@Example.org"]}]}`, named(&v1alpha.Peer{EmailAddresses: []string{"alice@example.ORG"}}), 0},
		{`{"allow": [{"emailAddresses": ["alice@example.org"]}]}`, named(&v1alpha.Peer{EmailAddresses: []string{"Alice@example.org", "alice@example.org.evil", ""}}), 403},
		{`{"allow": [{"ipAddresses": ["10.0.0.0/8"]}]}`, named(&v1alpha.Peer{IPAddresses: []string{"10.1.2.3"}}), 0},
		{`{"allow": [{"ipAddresses": ["10.0.0.0/8"]}]}`, named(&v1alpha.Peer{IPAddresses: []string{"11.1.2.3", "::1", "", "10.0.0.1/8"}}), 403},
		{`{"allow": [{"ipAddresses": ["2001:db8::1"]}]}`, named(&v1alpha.Peer{IPAddresses: []string{"2001:db8:0::1"}}), 0},
		{`{"allow": [{"fingerprints": ["00:FF:00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"]}]}`, named(&v1alpha.Peer{Fingerprint: fingerprint}), 0},
		{`{"allow": [{"fingerprints": ["` + fingerprint + `"]}]}`, named(&v1alpha.Peer{Fingerprint: fingerprint[:63] + "0"}), 403},
		{`{"allow": [{"dnsNames": ["a"], "issuer": {"CN": "ca"}}]}`, named(&v1alpha.Peer{DNSNames: []string{"a"}, Issuer: "CN=ca"}), 0},
		{`{"allow": [{"dnsNames": ["a"], "issuer": {"CN": "ca"}}]}`, named(&v1alpha.Peer{DNSNames: []string{"a"}, Issuer: "CN=cb"}), 403},
		{`{"allow": [{"dnsNames": ["a"]}, {"issuer": {"CN": "ca"}}]}`, named(&v1alpha.Peer{Issuer: "CN=ca"}), 0},
		{`{"allow": [{"issuer": {"CN": "ca"}}], "deny": [{"dnsNames": ["a"]}]}`, named(&v1alpha.Peer{DNSNames: []string{"a"}, Issuer: "CN=ca"}), 403},
		{`{"deny": [{"dnsNames": ["a"]}]}`, named(&v1alpha.Peer{DNSNames: []string{"b"}}), 0},
		{`{"identity": "fingerprint", "deny": [{"subject": {"CN": "mallory"}}]}`, unread, 403},
		{`{"identity": "fingerprint", "deny": [{"dnsNames": ["a"], "fingerprints": ["` + fingerprint + `"]}]}`, unread, 403},
		{`{"identity": "fingerprint", "deny": [{"dnsNames": ["a"], "fingerprints": ["` + fingerprint[:63] + `0"]}]}`, unread, 0},
		{`{"identity": "uri"}`, named(&v1alpha.Peer{DNSNames: []string{"b"}}), 403},
		{`{"identity": "subject"}`, &v1alpha.Peer{Fingerprint: fingerprint}, 403},
		{`{"identity": "fingerprint"}`, &v1alpha.Peer{Fingerprint: fingerprint}, 0},
	} {
		if got := status(t, test.params, test.peer); got != test.want {
			t.Errorf("%s of %v: expected %d, got %d", test.params, test.peer, test.want, got)
		}
	}
}

func TestTheIdentityOfTheClient(t *testing.T) {
	peer := &v1alpha.Peer{
		Subject: "CN=alice,O=Example", Issuer: "CN=ca", Fingerprint: fingerprint,
		DNSNames: []string{"a.example", "b.example"}, URIs: []string{"urn:x", "spiffe://example.org/a"},
		EmailAddresses: []string{"alice@example.org"}, IPAddresses: []string{"10.0.0.1"},
	}
	for params, want := range map[string]string{
		`{}`:                           "CN=alice,O=Example",
		`{"identity": "dnsName"}`:      "a.example",
		`{"identity": "uri"}`:          "urn:x",
		`{"identity": "emailAddress"}`: "alice@example.org",
		`{"identity": "ipAddress"}`:    "10.0.0.1",
		`{"identity": "fingerprint"}`:  fingerprint,
		`{"identity": "uri", "allow": [{"dnsNames": ["c"]}, {"uris": ["spiffe://example.org/*"]}]}`: "spiffe://example.org/a",
		`{"identity": "dnsName", "allow": [{"dnsNames": ["b.example"]}]}`:                           "b.example",
	} {
		_, identity := ask(t, params, peer)
		expected := map[string]any{"subject": want, "issuer": "CN=ca", "method": "mtls", "claims": map[string]any{"fingerprint": fingerprint}}
		if !reflect.DeepEqual(identity, expected) {
			t.Errorf("%s: expected %v, got %v", params, expected, identity)
		}
	}
}

const headers = `{"identity": "fingerprint", "headers": [
	{"name": "X-Client", "value": "identity"}, {"name": "X-Subject", "value": "subject"}, {"name": "X-Issuer", "value": "issuer"},
	{"name": "X-Dns", "value": "dnsNames"}, {"name": "X-Uri", "value": "uris"}, {"name": "X-Email", "value": "emailAddresses"},
	{"name": "X-Ip", "value": "ipAddresses"}, {"name": "X-Print", "value": "fingerprint"}]}`

func TestUpstreamReceivesHeaders(t *testing.T) {
	action, _ := ask(t, headers, &v1alpha.Peer{
		Subject: `CN=a\, b`, Fingerprint: fingerprint, DNSNames: []string{"a", "b"}, URIs: []string{}, IPAddresses: []string{"::1"},
	})
	changes, ok := action.(*v1alpha.UpstreamRequestModifications)
	if !ok {
		t.Fatalf("expected changes of the request, got %v", action)
	}
	want := v1alpha.HeaderModifications{
		Remove: []string{"X-Issuer", "X-Uri", "X-Email"},
		Set: []v1alpha.Header{
			{Name: "X-Client", Value: fingerprint}, {Name: "X-Subject", Value: `CN=a\, b`}, {Name: "X-Dns", Value: "a"}, {Name: "X-Dns", Value: "b"},
			{Name: "X-Ip", Value: "::1"}, {Name: "X-Print", Value: fingerprint},
		},
	}
	if !reflect.DeepEqual(changes.Headers, want) {
		t.Errorf("expected %v, got %v", want, changes.Headers)
	}
}

// TestANameThatLooksLikeSeveralIsRefused: an authority may permit any text in a name.
func TestANameThatLooksLikeSeveralIsRefused(t *testing.T) {
	for _, peer := range []*v1alpha.Peer{
		{Fingerprint: fingerprint, DNSNames: []string{"a,admin"}},
		{Fingerprint: fingerprint, URIs: []string{"urn:a\r\nx-admin: 1"}},
		{Fingerprint: fingerprint, EmailAddresses: []string{"a\x00@b"}},
		{Fingerprint: fingerprint, Subject: "CN=a\nb"},
	} {
		if got := status(t, headers, peer); got != 403 {
			t.Errorf("%v: expected 403, got %d", peer, got)
		}
	}
}

func TestARefusalDoesNotRevealWhichClientsAreAdmitted(t *testing.T) {
	action, _ := ask(t, `{"allow": [{"subject": {"CN": "secret"}}], "statusCode": 401}`, &v1alpha.Peer{Subject: "CN=mallory"})
	answer := action.(*v1alpha.ImmediateResponse)
	if strings.Contains(string(answer.Body), "secret") || strings.Contains(string(answer.Body), "mallory") || !json.Valid(answer.Body) {
		t.Errorf("expected a problem without names, got %s", answer.Body)
	}
	if got := (v1alpha.Headers)(answer.Headers).Get("www-authenticate"); got == "" {
		t.Error("expected a challenge beside 401 (RFC 9110, 11.6.1)")
	}
}

func TestInvalidNetworksAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1/8": "allow[0].ipAddresses[0]: expected no bits below the prefix, such as 10.0.0.0/8, got", "10.0.0.256": "expected an address",
		"::ffff:10.0.0.0/104": "expected an address",
	} {
		_, err := mtlsauth.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"allow": [{"ipAddresses": ["`+text+`"]}]}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected an error with %q, got %v", text, want, err)
		}
	}
}

// FuzzASubject: no text in place of a name causes a panic, or is admitted.
func FuzzASubject(f *testing.F) {
	for _, seed := range []string{"", "CN", "CN=", "CN=a,", `CN=\`, `CN=\4`, `CN=a\2`, "=a", "CN=a,,CN=alice", "+CN=alice", "CN=#"} {
		f.Add(seed)
	}
	policy := instance(f, `{"allow": [{"subject": {"CN": "alice"}}]}`)
	f.Fuzz(func(t *testing.T, dn string) {
		action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{Peer: &v1alpha.Peer{Subject: dn}, Metadata: &v1alpha.ExchangeMetadata{}})
		if _, refused := action.(*v1alpha.ImmediateResponse); err != nil || !refused && !strings.Contains(strings.ReplaceAll(dn, `\`, ""), "CN=") {
			t.Errorf("%q: expected a refusal, got %v, %v", dn, action, err)
		}
	})
}
