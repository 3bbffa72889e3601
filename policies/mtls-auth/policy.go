// Package mtlsauth is the policy mtls-auth: it lets requests pass by the client's certificate, which the gateway has
// verified, and says who the client is.
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

// header tells upstream of the certificate.
type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type policy struct {
	allow, deny     []matcher // allow is nil where every certificate may ask that is not in deny
	identity        string
	headers         []header
	refusal, nobody *v1alpha.ImmediateResponse
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml. A network with bits below its prefix, and an
// address that is none, are errors.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given parameters
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	p := &policy{identity: given.Identity, headers: given.Headers}
	var err error
	if p.allow, err = matchers("allow", given.Allow); err != nil {
		return nil, err
	}
	if p.deny, err = matchers("deny", given.Deny); err != nil {
		return nil, err
	}
	p.nobody = refusal(given.WithoutCertificate, "a client certificate is needed here")
	p.refusal = refusal(given.StatusCode, "this client certificate may not be used here")
	return p, nil
}

// OnRequest answers those who may not ask.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	peer := req.Peer
	if peer == nil {
		return p.nobody, nil
	}
	by := p.letIn(peer)
	if by == nil {
		return p.refusal, nil
	}
	subject := p.subject(peer, by)
	if subject == "" {
		return p.refusal, nil
	}
	lines, removed, ok := p.lines(peer, subject)
	if !ok {
		return p.refusal, nil
	}
	who := map[string]any{"subject": subject, "method": "mtls", "claims": map[string]any{"fingerprint": peer.Fingerprint}}
	if peer.Issuer != "" {
		who["issuer"] = peer.Issuer
	}
	if err := req.Metadata.Set("identity", who); err != nil {
		return nil, fmt.Errorf("the client's identity: %w", err)
	}
	if len(p.headers) == 0 {
		return nil, nil
	}
	return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Remove: removed, Set: lines}}, nil
}

// everybody is what lets in where there are no rules.
var everybody matcher

// letIn is the rule by which the client may ask; nil where it may not.
func (p *policy) letIn(peer *v1alpha.Peer) *matcher {
	unread := isUnread(peer)
	if slices.ContainsFunc(p.deny, func(m matcher) bool { return m.fits(peer) || unread && m.mayFit(peer) }) {
		return nil
	}
	if p.allow == nil {
		return &everybody
	}
	for n := range p.allow {
		if p.allow[n].fits(peer) {
			return &p.allow[n]
		}
	}
	return nil
}

// subject is who the client is; "" where the certificate does not say.
func (p *policy) subject(peer *v1alpha.Peer, by *matcher) string {
	switch p.identity {
	case "subject":
		return peer.Subject
	case "fingerprint":
		return peer.Fingerprint
	case "dnsName":
		return chosen(peer.DNSNames, by.dnsName)
	case "uri":
		return chosen(peer.URIs, by.uri)
	case "emailAddress":
		return chosen(peer.EmailAddresses, by.emailAddress)
	default:
		return chosen(peer.IPAddresses, by.ipAddress)
	}
}

// chosen is the first of the names that the rule names, where it names any; "" where there is none.
func chosen(names []string, named test) string {
	for _, name := range names {
		if named == nil || named(name) {
			return name
		}
	}
	return ""
}

// lines are the headers that upstream is sent, and the names of those that it is not. It is false where a value cannot
// stand in a header such that it is told from another one.
func (p *policy) lines(peer *v1alpha.Peer, subject string) (lines []v1alpha.Header, removed []string, ok bool) {
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

// NeverBlocks says that the policy waits for nothing.
func (*policy) NeverBlocks() {}
