package v1alpha

// RequestAction is what OnRequest returns: *UpstreamRequestModifications, *ImmediateResponse or nil.
type RequestAction interface{ requestAction() }

// ResponseAction is what OnResponse returns: *UpstreamResponseModifications, *ImmediateResponse or nil.
type ResponseAction interface{ responseAction() }

// HeaderModifications are applied in the order remove, set, append. A name that stands twice in Set gets both values.
// Control characters other than tabs, pseudo-headers and hop-by-hop headers are refused as ClassBadAction.
type HeaderModifications struct {
	Remove []string
	Set    []Header
	Append []Header
}

// UpstreamRequestModifications change the request before it goes on. A nil pointer leaves its part unchanged.
type UpstreamRequestModifications struct {
	Headers           HeaderModifications
	Body              *[]byte
	Path              *string // without the query; must stay under the API's context
	Query             *string
	Method            *string
	Authority         *string
	AnalyticsMetadata map[string]any // to Envoy's dynamic metadata, and from there to the access log
}

// UpstreamResponseModifications change the response before it goes back.
type UpstreamResponseModifications struct {
	Headers           HeaderModifications
	Body              *[]byte
	StatusCode        int // 200–599; 0 is unchanged
	AnalyticsMetadata map[string]any
}

// ImmediateResponse answers the client. From OnRequest the rest of the request chain is skipped and upstream is not
// asked; from OnResponse it replaces the response.
type ImmediateResponse struct {
	StatusCode        int // 200–599
	Headers           []Header
	Body              []byte
	AnalyticsMetadata map[string]any
}

func (*UpstreamRequestModifications) requestAction()   {}
func (*ImmediateResponse) requestAction()              {}
func (*UpstreamResponseModifications) responseAction() {}
func (*ImmediateResponse) responseAction()             {}
