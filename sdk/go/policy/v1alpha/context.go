package v1alpha

// RequestContext is the request as the chain sees it now: as it came, with what the policies before have changed of its
// method, path, query, authority, headers and body. It is read-only, and valid until the hook returns.
type RequestContext struct {
	// RequestID is unique for each request: the x-request-id that upstream, the logs and error answers have too.
	RequestID string
	// Method is upper case where the client sent it so: "GET".
	Method string
	// Path is without the query, and begins with the API's context: "/orders/v1.0/4711". It is as the policies before
	// have left it, in the one spelling that decisions are made by: dot segments and "//" are resolved, reserved
	// characters stand for themselves ("/a:b", also where the client wrote "/a%3ab"), all others are encoded in upper case
	// ("/caf%C3%A9"), and under strictPaths a slash at the end is there where the operation's path has one. PathSegments
	// are its parts, decoded.
	Path string
	// RawPath is the path as it goes upstream, in the client's own spelling: for signatures of it, keys of what an
	// upstream has answered, and paths that are made of it. Rules and limits go by Path.
	RawPath string
	// Query is without "?"; "" where there is none.
	Query string
	// Scheme is "http" or "https": how the client reached the gateway.
	Scheme string
	// Authority is the host as the client named it, with ":port" if it named one; Host is the form to compare.
	Authority string
	// ClientAddress is ip:port of the client, IPv6 in brackets: of the connection's other end, or of whom a proxy names
	// that the Gateway trusts (trustedProxies, PROXY protocol), with port 0 where it names none. No other header counts.
	ClientAddress string
	// Peer is who the client is by its certificate, which the gateway has verified; nil on listeners that ask for none,
	// and of clients that have shown none where they need not.
	Peer *Peer
	// Upstream is the name of the API's upstream that the policies before have chosen; "" for the operation's own.
	Upstream string
	// UpstreamPath is the path that the upstream would get if no later policy changed Path or Upstream: RawPath with the
	// base path of the upstream's URL in the place of the API's context, and rewritten as the API says. It has no query. ""
	// where nothing goes upstream (a redirect, an answer), and where Envoy has yet to choose between upstreams with other
	// base paths (split). In the response phase it is the path that went upstream.
	UpstreamPath string
	// APIName is metadata.name of the API: "orders-v1".
	APIName string
	// APIContext is the path that all of the API lies under: "/orders/v1.0"; "/" is the root.
	APIContext string
	// APIVersion is spec.version of the API: "v1.0".
	APIVersion string
	// Operation is the API's operation that matched: "GET /{id}"; "GET /{id} [x-version=2]" if it matches headers or query.
	Operation string
	// PathParams are those of the operation's path, {id} of "GET /{id}", from the path as the client sent it, whatever
	// policies have made of Path; nil where it has none. PathParams.Get("id") is decoded.
	PathParams PathParams
	// Headers are in wire order, names in lower case, without pseudo-headers.
	Headers Headers
	// Body is nil where the policy's definition does not ask for it in this phase, or the request has none. It has at
	// most the attachment's maxBodyBytes, 1 MiB unless it says otherwise.
	Body []byte
	// HasBody reports whether the request has a body, also where the policy is not given it: the client's, unless the request
	// ended with its headers, or what the policies before have made of it. Over HTTP/2 no header need tell of one. A body
	// that has not come yet may turn out to be empty.
	HasBody bool
	// Trailers are nil but in OnRequestStream.
	Trailers *Trailers
	// Metadata is the exchange's, shared by all its policies in both phases. It is never nil.
	Metadata *ExchangeMetadata
}

// ResponseContext is the response as the chain sees it now, with the request that it answers.
// It is read-only, and valid until the hook returns.
type ResponseContext struct {
	// Request is the request as it went upstream, or as it was when a policy answered it. Its Body is nil unless the
	// policy's definition says requestBodyInResponse. It is never nil.
	Request *RequestContext
	// StatusCode is upstream's, or that of a policy's or the gateway's answer, as the policies before have left it.
	StatusCode int
	// Headers are in wire order, names in lower case, without pseudo-headers.
	Headers Headers
	// Body is nil where the policy's definition does not ask for it, or the response has none. It has at most the
	// attachment's maxBodyBytes.
	Body []byte
	// Trailers are nil but in OnResponseStream.
	Trailers *Trailers
	// Metadata is the exchange's, the same object as Request.Metadata. It is never nil.
	Metadata *ExchangeMetadata
}
