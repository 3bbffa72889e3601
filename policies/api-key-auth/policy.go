// Package apikeyauth is the policy api-key-auth: it admits requests that have one of its keys.
package apikeyauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// maxKeyLength is the length in bytes of the longest key that is looked up.
const maxKeyLength = 4096

type parameters struct {
	Keys           []key            `json:"keys"`
	KeyLists       []v1alpha.Secret `json:"keyLists"`
	Header         string           `json:"header"`
	Query          string           `json:"query"`
	Cookie         string           `json:"cookie"`
	Basic          bool             `json:"basic"`
	Forward        bool             `json:"forward"`
	RequiredScopes []string         `json:"requiredScopes"`
	OwnerHeader    string           `json:"ownerHeader"`
	Realm          string           `json:"realm"`
	Consumers      *consumers       `json:"consumers"`
}

type policy struct {
	places      places
	forward     bool
	ownerHeader string
	required    []string
	owners      map[[sha256.Size]byte]*owner
	consumers   *consumers // nil: keys of consumers are refused
	missing     *v1alpha.ImmediateResponse
	wrong       *v1alpha.ImmediateResponse
	forbidden   *v1alpha.ImmediateResponse
	now         func() time.Time
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml. Invalid keys, and keys that occur
// twice, are errors, which quote no key.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed parameters
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{
		places:  places{header: strings.ToLower(parsed.Header), query: parsed.Query, cookie: parsed.Cookie, basic: parsed.Basic},
		forward: parsed.Forward, ownerHeader: strings.ToLower(parsed.OwnerHeader), required: parsed.RequiredScopes,
		owners: map[[sha256.Size]byte]*owner{}, now: time.Now,
		consumers: parsed.Consumers.of(metadata.Consumers),
	}
	if p.places == (places{}) {
		return nil, fmt.Errorf("expected a place for the key, got none: name a header, a query parameter or a cookie, or set basic")
	}
	if p.places.basic && (p.places.header == authorization || p.ownerHeader == authorization) {
		return nil, fmt.Errorf("basic: expected the header authorization for it alone, got it as header or ownerHeader too")
	}
	if p.ownerHeader != "" && (p.ownerHeader == p.places.header || p.ownerHeader == "cookie") {
		return nil, fmt.Errorf("ownerHeader: expected another header than that of the key, got %s", parsed.OwnerHeader)
	}
	p.missing = refusal(401, "This API requires an API key.", p.places.challenge(parsed.Realm, ""))
	p.wrong = refusal(401, "The API key is not valid.", p.places.challenge(parsed.Realm, `, error="invalid_key"`))
	p.forbidden = refusal(403, "The API key lacks a required scope.", "")
	return p, p.addAll(parsed)
}

// OnRequest refuses clients without a valid key, and identifies the others.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	found, count := p.places.find(req)
	switch {
	case count == 0:
		return p.missing, nil
	case count > 1 || len(found.key) > maxKeyLength: // upstream might read another key than this policy
		return p.wrong, nil
	}
	digest := sha256.Sum256([]byte(found.key))
	owner := p.owners[digest]
	if owner == nil {
		owner = p.consumers.find(digest)
	}
	if owner == nil || owner.isExpired(p.now()) || !found.isOf(owner) {
		return p.wrong, nil
	}
	for _, scope := range p.required {
		if !slices.Contains(owner.scopes, scope) {
			return p.forbidden, nil
		}
	}
	if err := req.Metadata.Set("identity", owner.identity); err != nil {
		return nil, err
	}
	return p.changes(req, owner), nil
}

// changes returns the changes to the upstream request; nil: none.
func (p *policy) changes(req *v1alpha.RequestContext, owner *owner) v1alpha.RequestAction {
	modifications := &v1alpha.UpstreamRequestModifications{}
	if !p.forward {
		p.places.remove(req, modifications)
	} else if p.ownerHeader == "" {
		return nil
	}
	if p.ownerHeader != "" {
		modifications.Headers.Set = append(modifications.Headers.Set, v1alpha.Header{Name: p.ownerHeader, Value: owner.name})
	}
	return modifications
}

// challenge returns what WWW-Authenticate asks for.
func (p places) challenge(realm, reason string) string {
	basic := fmt.Sprintf("Basic realm=%q, charset=\"UTF-8\"", realm)
	if p == (places{basic: true}) {
		return basic
	}
	challenge := fmt.Sprintf("ApiKey realm=%q%s", realm, reason)
	if p.basic {
		challenge += ", " + basic
	}
	return challenge
}

func refusal(status int, detail, challenge string) *v1alpha.ImmediateResponse {
	titles := map[int]string{401: "Unauthorized", 403: "Forbidden"}
	headers := []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}, {Name: "cache-control", Value: "no-store"}}
	if challenge != "" {
		headers = append(headers, v1alpha.Header{Name: "www-authenticate", Value: challenge})
	}
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"detail":%q}`, titles[status], status, detail)
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
