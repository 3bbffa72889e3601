package v1alpha

// RequestContext is the request as the chain sees it now: what the policies before changed is in it.
// It is read-only, and valid until the hook returns.
type RequestContext struct {
	RequestID     string
	Method        string
	Path          string // without the query
	Query         string // without "?"
	Scheme        string
	Authority     string
	ClientAddress string // ip:port
	APIName       string
	APIVersion    string
	Operation     string // "GET /{id}"
	Headers       Headers
	Body          []byte // nil: not wanted by the policy's definition in this phase, or the request has none
	Metadata      *ExchangeMetadata
}

// ResponseContext is the response as the chain sees it now, with the request that it answers.
// It is read-only, and valid until the hook returns.
type ResponseContext struct {
	Request    *RequestContext // as it went upstream; with its body where the definition says requestBodyInResponse
	StatusCode int
	Headers    Headers
	Body       []byte // nil: not wanted by the policy's definition, or the response has none
	Metadata   *ExchangeMetadata
}
