package v1alpha

// RequestContext is the request in its present state: the client's request with the changes that earlier policies have made to its
// method, path, query, authority, headers and body. It is read-only, and valid until the hook returns.
type RequestContext struct {
	// RequestID is unique for each request: the x-request-id that upstream, the logs and error answers have too.
	RequestID string
	// Method is upper case where the client sent it so: "GET".
	Method string
	// Path is without the query, and begins with the API's context: "/orders/v1.0/4711". It contains the changes of earlier
	// policies, in one spelling for decisions: dot segments and "//" are resolved, reserved
	// characters are not encoded ("/a:b", also if the client wrote "/a%3ab"), all others are encoded in upper case
	// ("/caf%C3%A9"), and under strictPaths it ends in a slash exactly if the operation's path does. PathSegments
	// are its parts, decoded.
	Path string
	// RawPath is the path as it goes upstream, in the client's own spelling: for signatures, keys of cached
	// answers, and paths derived from it. Rules and limits use Path.
	RawPath string
	// Query is without "?"; "" if there is none.
	Query string
	// Scheme is "http" or "https": how the client reached the gateway.
	Scheme string
	// Authority is the client's host, with ":port" if it sent one; Host is the form to compare.
	Authority string
	// ClientAddress is ip:port of the client, IPv6 in brackets: of the connection's other end, or the address that a proxy reports
	// which the Gateway trusts (trustedProxies, PROXY protocol), with port 0 if it reports none. No other header counts.
	ClientAddress string
	// Peer is the client's identity by its certificate, which the gateway has verified; nil on listeners that request none,
	// and for clients without a certificate where it is optional.
	Peer *Peer
	// Upstream is the name of the API's upstream that earlier policies have chosen; "" for the operation's own.
	Upstream string
	// UpstreamPath is the path that the upstream would get if no later policy changed Path or Upstream: RawPath with the
	// base path of the upstream's URL in place of the API's context, and with the API's rewrites. It has no query. It is ""
	// if nothing goes upstream (a redirect, an answer), and while Envoy has yet to choose between upstreams with different
	// base paths (split). In the response phase it is the path that went upstream.
	UpstreamPath string
	// APIName is metadata.name of the API: "orders-v1".
	APIName string
	// APIContext is the path that contains all of the API: "/orders/v1.0"; "/" is the root.
	APIContext string
	// APIVersion is spec.version of the API: "v1.0".
	APIVersion string
	// Operation is the API's operation that matched: "GET /{id}"; "GET /{id} [x-version=2]" if it matches headers or query.
	Operation string
	// PathParams are the parameters of the operation's path, {id} of "GET /{id}", taken from the client's path, whatever
	// policies have changed in Path; nil if it has none. PathParams.Get("id") is decoded.
	PathParams PathParams
	// Headers are in wire order, names in lower case, without pseudo-headers.
	Headers Headers
	// Body is nil if the policy's definition does not ask for it in this phase, or the request has none. It has at
	// most the attachment's maxBodyBytes, 1 MiB by default.
	Body []byte
	// HasBody reports whether the request has a body, even if the policy does not receive it: the client's, unless the request
	// ended with its headers, or a body set by an earlier policy. Over HTTP/2 no header need announce a body. A body
	// that has not arrived yet may turn out to be empty.
	HasBody bool
	// Trailers are nil except in OnRequestStream.
	Trailers *Trailers
	// Analytics are nil except in OnRequestStream.
	Analytics *Analytics
	// Metadata belongs to the exchange, and is shared by all its policies in both phases. It is never nil.
	Metadata *ExchangeMetadata
}

// ResponseContext is the response in its present state, with the request that it answers.
// It is read-only, and valid until the hook returns.
type ResponseContext struct {
	// Request is the request as it went upstream, or as it was when a policy answered it. Its Body is nil unless the
	// policy's definition has requestBodyInResponse. It is never nil.
	Request *RequestContext
	// StatusCode is the status of the upstream's, a policy's or the gateway's answer, with the changes of earlier policies.
	StatusCode int
	// Headers are in wire order, names in lower case, without pseudo-headers.
	Headers Headers
	// Body is nil if the policy's definition does not ask for it, or the response has none. It has at most the
	// attachment's maxBodyBytes.
	Body []byte
	// Trailers are nil except in OnResponseStream.
	Trailers *Trailers
	// Analytics are nil except in OnResponseStream.
	Analytics *Analytics
	// Metadata belongs to the exchange: the same object as Request.Metadata. It is never nil.
	Metadata *ExchangeMetadata
}
