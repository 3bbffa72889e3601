package setheaders_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	setheaders "gatewright.dev/policies/set-headers"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = setheaders.GetPolicy

func newPolicy(t testing.TB, operation, params string) v1alpha.Policy {
	t.Helper()
	policy, err := setheaders.GetPolicy(v1alpha.Metadata{Operation: operation}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func request() *v1alpha.RequestContext {
	return &v1alpha.RequestContext{
		RequestID: "id-1", Method: "GET", Path: "/shop/items/7", Query: "q=a+b&q=c&empty=&x=%0d%0ax-evil:%201", Scheme: "https",
		Authority: "shop.example", ClientAddress: "[2001:db8::1]:4711", APIName: "shop", APIVersion: "v1.0", Operation: "GET /items/{id}",
		PathParams: v1alpha.PathParams{{Name: "id", Encoded: "a%0Ab"}},
		Headers:    v1alpha.Headers{{Name: "x-many", Value: "a"}, {Name: "x-many", Value: "b"}, {Name: "x-user", Value: "root"}, {Name: "x-wide", Value: " \t "}},
		Metadata:   &v1alpha.ExchangeMetadata{},
	}
}

func headersOf(t *testing.T, policy v1alpha.Policy, req *v1alpha.RequestContext) v1alpha.HeaderModifications {
	t.Helper()
	action, err := policy.OnRequest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return action.(*v1alpha.UpstreamRequestModifications).Headers
}

// TestEachPlaceholder: a placeholder without a value gives no header.
func TestEachPlaceholder(t *testing.T) {
	identified := request()
	if err := identified.Metadata.Set("identity", map[string]any{"subject": "ann", "issuer": "https://id.example", "method": "jwt"}); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"plain":                               "plain",
		"${client.ip}":                        "2001:db8::1",
		"${client.address}":                   "[2001:db8::1]:4711",
		"${request.id}-${request.method}":     "id-1-GET",
		"${request.path}?${request.query}":    "/shop/items/7?q=a+b&q=c&empty=&x=%0d%0ax-evil:%201",
		"${request.scheme}://${request.host}": "https://shop.example",
		"${api.name}/${api.version}":          "shop/v1.0",
		"${api.operation}":                    "GET /items/{id}",
		"${identity.subject} of ${identity.issuer} by ${identity.method}": "ann of https://id.example by jwt",
		"${path.id}":                  "a%0Ab",
		"${query.q}":                  "a b, c",
		"${query.x}":                  "%0D%0Ax-evil: 1",
		"${header.X-Many}":            "a, b",
		"$${path.id} for 5$":          "${path.id} for 5$",
		"a$$${query.q}":               "a$${query.q}",
		"${query.empty}":              "",
		"${query.none}":               "",
		"${header.x-wide}":            "",
		"${header.none}${query.none}": "",
	} {
		policy := newPolicy(t, "GET /items/{id}", fmt.Sprintf(`{"request": {"set": [{"name": "x-a", "value": %q}]}}`, value))
		got := headersOf(t, policy, identified)
		if want == "" {
			if len(got.Set) != 0 || !reflect.DeepEqual(got.Remove, []string{"x-a"}) {
				t.Errorf("%s: expected no header, and none of the client's, got %+v", value, got)
			}
		} else if len(got.Set) != 1 || got.Set[0].Value != want {
			t.Errorf("%s: expected %q, got %+v", value, want, got.Set)
		}
	}
}

func TestAClientsTextCannotEndAHeader(t *testing.T) {
	policy := newPolicy(t, "", `{"request": {"set": [{"name": "x-a", "value": "<${query.a}${header.b}${path.c}>"}]}}`)
	for c := range 256 {
		req := request()
		req.Query = fmt.Sprintf("a=%%%02X", c)
		req.Headers = v1alpha.Headers{{Name: "b", Value: string([]byte{byte(c)})}}
		req.PathParams = v1alpha.PathParams{{Name: "c", Encoded: fmt.Sprintf("%%%02x", c)}}
		for _, header := range headersOf(t, policy, req).Set {
			for n := range len(header.Value) {
				if octet := header.Value[n]; octet < ' ' && octet != '\t' || octet == 0x7f {
					t.Errorf("%#x: expected no control character, got %q", c, header.Value)
				}
			}
			if c > ' ' && c < 0x7f && header.Value != "<"+strings.Repeat(string(rune(c)), 3)+">" {
				t.Errorf("%#x: expected it as it is, got %q", c, header.Value)
			}
		}
	}
}

func TestOrderAndNames(t *testing.T) {
	policy := newPolicy(t, "", `{"request": {"set": [{"name": "x-a", "value": "1"}, {"name": "X-User", "value": "${identity.subject}"}],
		"append": [{"name": "x-b", "value": "2"}, {"name": "x-c", "value": "${client.ip}"}, {"name": "x-d", "value": "${query.none}"}], "remove": ["x-e"]}}`)
	want := v1alpha.HeaderModifications{
		Remove: []string{"x-e", "X-User"}, Set: []v1alpha.Header{{Name: "x-a", Value: "1"}},
		Append: []v1alpha.Header{{Name: "x-b", Value: "2"}, {Name: "x-c", Value: "2001:db8::1"}},
	}
	for range 2 { // the values of one request do not appear in another
		if got := headersOf(t, policy, request()); !reflect.DeepEqual(got, want) {
			t.Errorf("expected %+v, got %+v", want, got)
		}
	}
	action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: request()})
	if changes := action.(*v1alpha.UpstreamResponseModifications); err != nil || !reflect.DeepEqual(*changes, v1alpha.UpstreamResponseModifications{}) {
		t.Errorf("expected no change of the response, got %v, %v", action, err)
	}
}

func TestTheResponseHasValuesOfTheRequest(t *testing.T) {
	policy := newPolicy(t, "", `{"response": {"append": [{"name": "set-cookie", "value": "seen=${query.q}"}], "remove": ["server"]}}`)
	action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: request()})
	if err != nil {
		t.Fatal(err)
	}
	got := action.(*v1alpha.UpstreamResponseModifications).Headers
	want := v1alpha.HeaderModifications{Remove: []string{"server"}, Append: []v1alpha.Header{{Name: "set-cookie", Value: "seen=a b, c"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("expected %+v, got %+v", want, got)
	}
	if got := headersOf(t, policy, request()); !reflect.DeepEqual(got, v1alpha.HeaderModifications{}) {
		t.Errorf("expected no change of the request, got %+v", got)
	}
}

func TestMistakesAreRefusedAtPublish(t *testing.T) {
	for value, says := range map[string]string{
		"${client.port}":    "request.set[0].value: expected one of client.address, client.ip",
		"${path.tenant}":    "expected a parameter of the operation's path, GET /items/{id}, got ${path.tenant}",
		"${path.}":          "got ${path.}",
		"${query.}":         "got ${query.}",
		"${header.a b}":     "got ${header.a b}",
		"${identity}":       "got ${identity}",
		"${}":               "got ${}",
		"a ${request.id":    `expected "}" behind "${"`,
		"${env.SECRET_KEY}": "got ${env.SECRET_KEY}",
	} {
		_, err := setheaders.GetPolicy(v1alpha.Metadata{Operation: "GET /items/{id}"}, v1alpha.Params(fmt.Sprintf(`{"request": {"set": [{"name": "x-a", "value": %q}]}}`, value)))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: expected %q, got %v", value, says, err)
		}
	}
	if _, err := setheaders.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"response": {"append": [{"name": "x", "value": "${path.tenant}"}]}}`)); err != nil {
		t.Errorf("expected the API's attachment to name a parameter that an operation may have, got %v", err)
	}
}

func BenchmarkSetHeaders(b *testing.B) {
	for name, params := range map[string]string{
		"constant":     `{"request": {"set": [{"name": "x-a", "value": "1"}]}}`,
		"placeholders": `{"request": {"set": [{"name": "x-a", "value": "${client.ip}"}, {"name": "x-b", "value": "${api.name}/${path.id}"}, {"name": "x-c", "value": "${query.q}"}]}}`,
	} {
		b.Run(name, func(b *testing.B) {
			policy, req := newPolicy(b, "", params), request()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.OnRequest(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
