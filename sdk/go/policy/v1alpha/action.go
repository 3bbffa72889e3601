package v1alpha

// RequestAction is what OnRequest returns: *UpstreamRequestModifications, *ImmediateResponse or nil.
type RequestAction interface{ requestAction() }

// ResponseAction is what OnResponse returns: *UpstreamResponseModifications, *ImmediateResponse or nil.
type ResponseAction interface{ responseAction() }

// HeaderModifications are applied in the order remove, set, append. Names may be in any case.
// Control characters other than tabs, pseudo-headers, hop-by-hop headers, content-length, host, x-gatewright-* and, of
// requests, x-envoy-* are refused as ClassBadAction, and so is what makes the message more than 200 lines or 128 KiB.
type HeaderModifications struct {
	Remove []string // names, with all their values; one that is not there is no error
	Set    []Header // replaces all values of the name; one that stands here twice gets both values
	Append []Header // adds a value beside those that there are
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
	AnalyticsMetadata map[string]any // JSON values, to Envoy's dynamic metadata, and from there to the access log
}

// UpstreamResponseModifications change the response before it goes back. The zero value of a part leaves it unchanged.
// An action that is refused has no effect at all: the execution fails with ClassBadAction.
type UpstreamResponseModifications struct {
	Headers           HeaderModifications
	Body              *[]byte        // as in UpstreamRequestModifications
	StatusCode        int            // 200–599; 0 is unchanged
	AnalyticsMetadata map[string]any // as in UpstreamRequestModifications
}

// ImmediateResponse answers the client. From OnRequest the rest of the request chain is skipped and upstream is not
// asked; from OnResponse it replaces the response. The policies that are still to see the response are given it.
type ImmediateResponse struct {
	StatusCode        int            // 200–599
	Headers           []Header       // a name that stands twice gets both values; what is refused is as in HeaderModifications
	Body              []byte         // nil: none
	AnalyticsMetadata map[string]any // as in UpstreamRequestModifications
}

func (*UpstreamRequestModifications) requestAction()   {}
func (*ImmediateResponse) requestAction()              {}
func (*UpstreamResponseModifications) responseAction() {}
func (*ImmediateResponse) responseAction()             {}
