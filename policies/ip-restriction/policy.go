// Package iprestriction is the policy ip-restriction: it admits requests by the address of the client.
package iprestriction

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	allow, deny *networks // allow is nil if the parameters have none: then all addresses pass that deny does not contain
	refusal     *v1alpha.ImmediateResponse
}

// GetPolicy builds an instance. Parameters: {"allow": ["10.0.0.0/8"…], "deny": […], "statusCode": 403}. Invalid
// addresses, and networks with bits below their prefix, are errors.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed struct {
		Allow      []string `json:"allow"`
		Deny       []string `json:"deny"`
		StatusCode int      `json:"statusCode"`
	}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{refusal: refusal(parsed.StatusCode)}
	var err error
	if p.deny, err = newNetworks("deny", parsed.Deny); err != nil {
		return nil, err
	}
	if parsed.Allow != nil {
		p.allow, err = newNetworks("allow", parsed.Allow)
	}
	return p, err
}

// OnRequest refuses clients that are not admitted.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	client, err := netip.ParseAddrPort(req.ClientAddress)
	if err != nil {
		return nil, fmt.Errorf("expected the client's address as ip:port, got %q", req.ClientAddress)
	}
	address := client.Addr().WithZone("").Unmap() // ::ffff:10.0.0.1 is 10.0.0.1
	if p.deny.has(address) || p.allow != nil && !p.allow.has(address) {
		return p.refusal, nil
	}
	return nil, nil
}

// networks is a set of networks. A lookup takes one step for each prefix length that occurs, for any number of networks.
type networks struct {
	lengths  []int
	prefixes map[netip.Prefix]bool
}

func newNetworks(field string, texts []string) (*networks, error) {
	n := &networks{prefixes: map[netip.Prefix]bool{}}
	seen := map[int]bool{}
	for i, text := range texts {
		prefix, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		n.prefixes[prefix] = true
		if !seen[prefix.Bits()] {
			seen[prefix.Bits()] = true
			n.lengths = append(n.lengths, prefix.Bits())
		}
	}
	return n, nil
}

func parse(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("expected an address like 192.0.2.7 or 2001:db8::7, got %q", text)
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("expected a network like 10.0.0.0/8 or 2001:db8::/32, got %q", text)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("expected an IPv4 network in IPv4 notation, got %q", text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("expected no bits below the prefix, got %q; did you mean %s?", text, prefix.Masked())
	}
	return prefix, nil
}

func (n *networks) has(address netip.Addr) bool {
	for _, length := range n.lengths {
		if prefix, err := address.Prefix(length); err == nil && n.prefixes[prefix] {
			return true
		}
	}
	return false
}

func refusal(status int) *v1alpha.ImmediateResponse {
	title := http.StatusText(status)
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d}`, title, status)
	return &v1alpha.ImmediateResponse{
		StatusCode: status,
		Headers:    []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}},
		Body:       []byte(body),
	}
}

// OnResponse is never called.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
