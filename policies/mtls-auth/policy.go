// Package mtlsauth is the policy mtls-auth: it admits requests by the client's certificate, which the gateway has
// verified, and identifies the client.
package mtlsauth

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

type parameters struct {
	Allow              []rule   `json:"allow"`
	Deny               []rule   `json:"deny"`
	Identity           string   `json:"identity"`
	Headers            []header `json:"headers"`
	WithoutCertificate int      `json:"withoutCertificate"`
	StatusCode         int      `json:"statusCode"`
}

// header is a header with a part of the certificate for the upstream.
type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type policy struct {
	allow, deny            []matcher // allow is nil if the parameters have none: then all certificates pass that deny does not match
	identity               string
	headers                []header
	refusal, noCertificate *v1alpha.ImmediateResponse
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml. Networks with bits below their prefix, and
// invalid addresses, are errors.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed parameters
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{identity: parsed.Identity, headers: parsed.Headers}
	var err error
	if p.allow, err = matchers("allow", parsed.Allow); err != nil {
		return nil, err
	}
	if p.deny, err = matchers("deny", parsed.Deny); err != nil {
		return nil, err
	}
	p.noCertificate = refusal(parsed.WithoutCertificate, "a client certificate is required")
	p.refusal = refusal(parsed.StatusCode, "the client certificate is not accepted")
	return p, nil
}

// OnRequest refuses clients that are not admitted.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	peer := req.Peer
	if peer == nil {
		return p.noCertificate, nil
	}
	rule := p.admit(peer)
	if rule == nil {
		return p.refusal, nil
	}
	subject := p.subject(peer, rule)
	if subject == "" {
		return p.refusal, nil
	}
	lines, removed, ok := p.headerLines(peer, subject)
	if !ok {
		return p.refusal, nil
	}
	identity := map[string]any{"subject": subject, "method": "mtls", "claims": map[string]any{"fingerprint": peer.Fingerprint}}
	if peer.Issuer != "" {
		identity["issuer"] = peer.Issuer
	}
	if err := req.Metadata.Set("identity", identity); err != nil {
		return nil, fmt.Errorf("the client's identity: %w", err)
	}
	if len(p.headers) == 0 {
		return nil, nil
	}
	return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Remove: removed, Set: lines}}, nil
}

// anyClient is the rule that admits clients if there are no rules.
var anyClient matcher

// admit returns the rule that admits the client; nil if none does.
func (p *policy) admit(peer *v1alpha.Peer) *matcher {
	isUncertain := hasUncertainNames(peer)
	if slices.ContainsFunc(p.deny, func(m matcher) bool { return m.matches(peer) || isUncertain && m.mayMatch(peer) }) {
		return nil
	}
	if p.allow == nil {
		return &anyClient
	}
	for n := range p.allow {
		if p.allow[n].matches(peer) {
			return &p.allow[n]
		}
	}
	return nil
}

// subject returns the client's subject; "" if the certificate has none.
func (p *policy) subject(peer *v1alpha.Peer, rule *matcher) string {
	switch p.identity {
	case "subject":
		return peer.Subject
	case "fingerprint":
		return peer.Fingerprint
	case "dnsName":
		return firstMatch(peer.DNSNames, rule.dnsName)
	case "uri":
		return firstMatch(peer.URIs, rule.uri)
	case "emailAddress":
		return firstMatch(peer.EmailAddresses, rule.emailAddress)
	default:
		return firstMatch(peer.IPAddresses, rule.ipAddress)
	}
}

// firstMatch returns the first name that passes the test, or the first of all if the test is nil; "" if there is none.
func firstMatch(names []string, test nameTest) string {
	for _, name := range names {
		if test == nil || test(name) {
			return name
		}
	}
	return ""
}

// headerLines returns the headers for the upstream, and the names of headers to remove. It returns false if a value cannot
// be written unambiguously in a header.
func (p *policy) headerLines(peer *v1alpha.Peer, subject string) (lines []v1alpha.Header, removed []string, ok bool) {
	for _, header := range p.headers {
		values, isList := valuesOf(header.Value, peer, subject)
		for _, value := range values {
			if strings.ContainsFunc(value, isControl) || isList && strings.Contains(value, ",") {
				return nil, nil, false
			}
			lines = append(lines, v1alpha.Header{Name: header.Name, Value: value})
		}
		if len(values) == 0 {
			removed = append(removed, header.Name)
		}
	}
	return lines, removed, true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func valuesOf(kind string, peer *v1alpha.Peer, subject string) (values []string, isList bool) {
	switch kind {
	case "dnsNames":
		return peer.DNSNames, true
	case "uris":
		return peer.URIs, true
	case "emailAddresses":
		return peer.EmailAddresses, true
	case "ipAddresses":
		return peer.IPAddresses, true
	}
	text := map[string]string{"identity": subject, "subject": peer.Subject, "issuer": peer.Issuer, "fingerprint": peer.Fingerprint}[kind]
	if text == "" {
		return nil, false
	}
	return []string{text}, false
}

func refusal(status int, detail string) *v1alpha.ImmediateResponse {
	headers := []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}}
	if status == http.StatusUnauthorized {
		headers = append(headers, v1alpha.Header{Name: "www-authenticate", Value: "ClientCertificate"})
	}
	if status == http.StatusNotFound {
		detail = ""
	} else {
		detail = fmt.Sprintf(`,"detail":%q`, detail)
	}
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d%s}`, http.StatusText(status), status, detail)
	return &v1alpha.ImmediateResponse{StatusCode: status, Headers: headers, Body: []byte(body)}
}

// OnResponse is never called.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
