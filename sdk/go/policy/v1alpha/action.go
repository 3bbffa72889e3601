package v1alpha

// RequestAction is the result of OnRequest: *UpstreamRequestModifications, *ImmediateResponse or nil.
type RequestAction interface{ requestAction() }

// ResponseAction is the result of OnResponse: *UpstreamResponseModifications, *ImmediateResponse or nil.
type ResponseAction interface{ responseAction() }

// HeaderModifications are applied in the order remove, set, append. Names may be in any case.
// Refused as ClassBadAction are control characters other than tabs, pseudo-headers, hop-by-hop headers, content-length, host,
// x-gatewright-* and, in requests, x-envoy-*, and changes that make the message exceed 200 lines or 128 KiB.
type HeaderModifications struct {
	Remove []string // names, with all their values; a missing one is no error
	Set    []Header // replaces all values of the name; a name that occurs here twice gets both values
	Append []Header // adds a value to the existing ones
}

// UpstreamRequestModifications change the request before it goes on. A nil pointer leaves its part unchanged.
// An action that is refused has no effect at all: the execution fails with ClassBadAction.
type UpstreamRequestModifications struct {
	Headers           HeaderModifications
	Body              *[]byte        // the gateway sets content-length, and removes content-encoding unless Headers sets it
	Path              *string        // without the query; must stay under the API's context; at most 32 KiB
	Query             *string        // without "?"; "" removes it; at most 32 KiB
	Method            *string        // a token other than CONNECT
	Authority         *string        // host or host:port
	Upstream          *string        // the name of one of the API's upstreams: "canary"; any other one is refused
	Attempts          []Attempt      // in place of Upstream, in an operation with `failover`; empty: no change
	AnalyticsMetadata map[string]any // JSON values, to Envoy's dynamic metadata, and from there to the access log
}

// Attempt is one of the upstreams that a request is sent to, one after the other, until one answers. Each is asked once.
type Attempt struct {
	Upstream string   // the name of one of the API's upstreams
	Set      []Header // as in HeaderModifications, of the request to this upstream alone
	Path     *string  // behind the upstream's base path, without the query; nil: the request's own
	Body     *[]byte  // UTF-8; nil: the request's own
}

// UpstreamResponseModifications change the response before it goes back. The zero value of a part leaves it unchanged.
// An action that is refused has no effect at all: the execution fails with ClassBadAction.
type UpstreamResponseModifications struct {
	Headers           HeaderModifications
	Body              *[]byte        // as in UpstreamRequestModifications
	StatusCode        int            // 200–599; 0 is unchanged
	AnalyticsMetadata map[string]any // as in UpstreamRequestModifications
}

// ImmediateResponse answers the client. From OnRequest, the rest of the request chain and the upstream are skipped;
// from OnResponse, it replaces the response. The policies whose response phase is still to come receive it.
type ImmediateResponse struct {
	StatusCode        int            // 200–599
	Headers           []Header       // a name that occurs twice gets both values; the refusals of HeaderModifications apply
	Body              []byte         // nil: none
	AnalyticsMetadata map[string]any // as in UpstreamRequestModifications
}

func (*UpstreamRequestModifications) requestAction()   {}
func (*ImmediateResponse) requestAction()              {}
func (*UpstreamResponseModifications) responseAction() {}
func (*ImmediateResponse) responseAction()             {}
