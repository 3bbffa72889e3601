package consumer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"gatewright.dev/policies/consumer"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = consumer.GetPolicy

// known has a consumer by claims and another one by a certificate.
type known struct{ v1alpha.Consumers }

var certificate = sha256.Sum256([]byte("der"))

func (known) ByClaims(issuer, subject string) *v1alpha.Consumer {
	if issuer == "https://id" && subject == "7" {
		return &v1alpha.Consumer{Name: "acme", Plan: "gold", Labels: map[string]string{"team": "a"}}
	}
	return nil
}

func (known) ByCertificate(digest [sha256.Size]byte) *v1alpha.Consumer {
	if digest == certificate {
		return &v1alpha.Consumer{Name: "beta"}
	}
	return nil
}

func ask(t *testing.T, params string, identity map[string]any) (v1alpha.RequestAction, v1alpha.Identity) {
	t.Helper()
	policy, err := consumer.GetPolicy(v1alpha.Metadata{Consumers: known{}}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	metadata := &v1alpha.ExchangeMetadata{}
	if identity != nil {
		if err := metadata.Set(v1alpha.IdentityKey, identity); err != nil {
			t.Fatal(err)
		}
	}
	req := &v1alpha.RequestContext{Metadata: metadata, Peer: &v1alpha.Peer{Fingerprint: hex.EncodeToString(certificate[:])}}
	action, err := policy.OnRequest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := v1alpha.IdentityOf(metadata)
	return action, after
}

func TestConsumersAreFound(t *testing.T) {
	jwt := map[string]any{"subject": "7", "issuer": "https://id", "method": "jwt", "scopes": []string{"read"}}
	mtls := map[string]any{"subject": "CN=7", "issuer": "CN=ca", "method": "mtls"}
	for name, c := range map[string]struct {
		params         string
		identity       map[string]any
		consumer, plan string
		isRefused      bool
	}{
		"by claims":                   {`{"required":true}`, jwt, "acme", "gold", false},
		"by certificate":              {`{"required":true}`, mtls, "beta", "", false},
		"with the labels":             {`{"required":true,"labels":{"team":"a"}}`, jwt, "acme", "gold", false},
		"without the labels":          {`{"required":true,"labels":{"team":"b"}}`, jwt, "", "", true},
		"without the labels, passes":  {`{"required":false,"labels":{"team":"b"}}`, jwt, "", "", false},
		"another subject":             {`{"required":true}`, map[string]any{"subject": "8", "issuer": "https://id"}, "", "", true},
		"a subject without an issuer": {`{"required":true}`, map[string]any{"subject": "7"}, "", "", true},
		"another subject, passes":     {`{"required":false}`, map[string]any{"subject": "8", "issuer": "https://id"}, "", "", false},
		"a consumer of another issuer": {`{"required":false}`,
			map[string]any{"subject": "8", "issuer": "https://id", "consumer": "acme", "plan": "gold", "labels": map[string]any{"team": "a"}}, "", "", false},
		"no identity": {`{"required":true}`, nil, "", "", true},
	} {
		action, after := ask(t, c.params, c.identity)
		refused, _ := action.(*v1alpha.ImmediateResponse)
		if (refused != nil) != c.isRefused || refused == nil && (after.Consumer != c.consumer || after.Plan != c.plan) {
			t.Errorf("%s: expected %q with plan %q, refused: %t; got %+v, %+v", name, c.consumer, c.plan, c.isRefused, after, refused)
		}
		if has := after.Labels["team"] == "a"; refused == nil && has != (c.consumer == "acme") {
			t.Errorf("%s: expected the labels of the consumer that was found, got %v", name, after.Labels)
		}
		if c.consumer == "acme" && (after.Subject != "7" || len(after.Scopes) != 1) {
			t.Errorf("%s: expected the rest of the identity as it was, got %+v", name, after)
		}
	}
}

func TestTheHeaderIsNeverTheClients(t *testing.T) {
	action, _ := ask(t, `{"required":false,"header":"x-consumer"}`, nil)
	if removed := action.(*v1alpha.UpstreamRequestModifications).Headers.Remove; len(removed) != 1 || removed[0] != "x-consumer" { //nolint:forcetypeassert // fails the test
		t.Errorf("expected x-consumer to be removed, got %v", removed)
	}
	action, _ = ask(t, `{"header":"x-consumer"}`, map[string]any{"subject": "7", "issuer": "https://id"})
	if set := action.(*v1alpha.UpstreamRequestModifications).Headers.Set; len(set) != 1 || set[0].Value != "acme" { //nolint:forcetypeassert // fails the test
		t.Errorf("expected x-consumer: acme, got %v", set)
	}
}

func TestTheRefusalNamesNoConsumer(t *testing.T) {
	action, _ := ask(t, `{"required":true}`, map[string]any{"subject": "secret-subject", "issuer": "https://id"})
	if refused, ok := action.(*v1alpha.ImmediateResponse); !ok || refused.StatusCode != 403 || bytes.Contains(refused.Body, []byte("secret-subject")) {
		t.Errorf("expected a 403 that repeats nothing, got %+v", action)
	}
}
