package condition

import (
	"net"
	"net/url"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"gatewright.dev/sdk/policy/v1alpha"
)

// activation provides the variables of a condition, each on request.
type activation struct {
	request  *v1alpha.RequestContext
	headers  headerMap
	query    queryMap
	metadata metadataMap
	params   paramsMap
}

func newActivation(request *v1alpha.RequestContext) *activation {
	return &activation{request: request, headers: headerMap{view: request.Headers}, query: queryMap{text: request.Query}, metadata: metadataMap{metadata: request.Metadata},
		params: paramsMap{params: request.PathParams}}
}

func (a *activation) Parent() interpreter.Activation { return nil }

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case method:
		return types.String(a.request.Method), true
	case path:
		return types.String(a.request.Path), true
	case pathSegments:
		return listOf(a.request.PathSegments()), true
	case headers:
		return &a.headers, true
	case query:
		return &a.query, true
	case metadata:
		return &a.metadata, true
	case pathParams:
		return &a.params, true
	case host:
		return types.String(a.request.Host()), true
	case scheme:
		return types.String(a.request.Scheme), true
	case clientIP:
		return types.String(ipOf(a.request.ClientAddress)), true
	}
	return a.resolvePeer(name)
}

var noPeer v1alpha.Peer

// resolvePeer returns the fields of the client's certificate; empty values for a client without one.
func (a *activation) resolvePeer(name string) (any, bool) {
	peer := a.request.Peer
	if peer == nil {
		peer = &noPeer
	}
	switch name {
	case subject:
		return types.String(peer.Subject), true
	case issuer:
		return types.String(peer.Issuer), true
	case fingerprint:
		return types.String(peer.Fingerprint), true
	case dnsNames:
		return listOf(peer.DNSNames), true
	case uris:
		return listOf(peer.URIs), true
	case emails:
		return listOf(peer.EmailAddresses), true
	case ips:
		return listOf(peer.IPAddresses), true
	}
	return nil, false
}

// ipOf is the address without its port; "" if there is none.
func ipOf(address string) string {
	if ip, _, err := net.SplitHostPort(address); err == nil {
		return ip
	}
	return ""
}

// parameters yields those of a query, decoded like forms; an invalid encoding stays as it is.
func parameters(query string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for pair := range strings.SplitSeq(query, "&") {
			if pair == "" {
				continue
			}
			name, value, _ := strings.Cut(pair, "=")
			if !yield(unescape(name), unescape(value)) {
				return
			}
		}
	}
}

func unescape(text string) string {
	if unescapedText, err := url.QueryUnescape(text); err == nil {
		return unescapedText
	}
	return text
}
