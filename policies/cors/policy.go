// Package cors is the policy cors: it answers preflight requests, and names in every response the origin that may read it
// (https://fetch.spec.whatwg.org/#http-cors-protocol).
package cors

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

const (
	allowOrigin         = "access-control-allow-origin"
	allowCredentials    = "access-control-allow-credentials"
	allowMethods        = "access-control-allow-methods"
	allowHeaders        = "access-control-allow-headers"
	allowPrivateNetwork = "access-control-allow-private-network"
	exposeHeaders       = "access-control-expose-headers"
	maxAge              = "access-control-max-age"
	requestMethod       = "access-control-request-method"
	requestHeaders      = "access-control-request-headers"
	requestPrivate      = "access-control-request-private-network"
	problem             = `{"type":"about:blank","title":"Forbidden","status":403,"detail":"`
)

// corsHeaders are the response headers that only this policy sets. Those of the upstream are removed, since a browser refuses
// a header with two values.
var corsHeaders = []string{allowOrigin, allowCredentials, allowMethods, allowHeaders, allowPrivateNetwork, exposeHeaders, maxAge}

type parameters struct {
	AllowOrigins        []string `json:"allowOrigins"`
	AllowMethods        []string `json:"allowMethods"`
	AllowHeaders        []string `json:"allowHeaders"`
	ExposeHeaders       []string `json:"exposeHeaders"`
	AllowCredentials    bool     `json:"allowCredentials"`
	MaxAgeSeconds       int      `json:"maxAgeSeconds"`
	AllowPrivateNetwork bool     `json:"allowPrivateNetwork"`
	EchoOrigin          bool     `json:"echoOrigin"`
	PreflightLists      string   `json:"preflightLists"`
}

type policy struct {
	origins    map[string]bool
	wildcards  []wildcard
	anyOrigin  bool
	echo       bool // of the origin, if any is allowed
	methods    []string
	allMethods bool
	headers    map[string]bool // in lower case
	allHeaders bool
	private    bool
	// What the answer to a preflight request lists in place of what that asks for; "" for the latter.
	listedMethods, listedHeaders string
	common                       []v1alpha.Header // of each response to an allowed origin, except for the origin
	preflight                    []v1alpha.Header // of each allowed preflight, except for the requested method and headers
	forAny                       *v1alpha.UpstreamResponseModifications
	forNone                      *v1alpha.UpstreamResponseModifications
}

// wildcard is an origin with "*." at the beginning of its host.
type wildcard struct{ before, after string }

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed parameters
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{
		origins: map[string]bool{}, headers: map[string]bool{}, methods: parsed.AllowMethods,
		allMethods: slices.Contains(parsed.AllowMethods, "*"), private: parsed.AllowPrivateNetwork, echo: parsed.EchoOrigin,
	}
	for _, origin := range parsed.AllowOrigins {
		if before, after, found := strings.Cut(origin, "*"); !found {
			p.origins[origin] = true
		} else if before == "" {
			p.anyOrigin = true
		} else {
			p.wildcards = append(p.wildcards, wildcard{before, after})
		}
	}
	for _, name := range parsed.AllowHeaders {
		p.allHeaders = p.allHeaders || name == "*"
		p.headers[strings.ToLower(name)] = true
	}
	if parsed.AllowCredentials {
		p.common = append(p.common, v1alpha.Header{Name: allowCredentials, Value: "true"})
	}
	p.preflight = append(slices.Clone(p.common), v1alpha.Header{Name: maxAge, Value: strconv.Itoa(parsed.MaxAgeSeconds)})
	if len(parsed.ExposeHeaders) > 0 {
		p.common = append(p.common, v1alpha.Header{Name: exposeHeaders, Value: strings.Join(parsed.ExposeHeaders, ", ")})
	}
	if parsed.PreflightLists == "all" {
		p.listAll(parsed)
	}
	p.forAny, p.forNone = p.response("*"), p.response("")
	return p, nil
}

// listAll makes answers to preflight requests list all that is allowed; what is allowed by "*" is listed as requested.
func (p *policy) listAll(parsed parameters) {
	if !p.allMethods {
		p.listedMethods = strings.Join(parsed.AllowMethods, ", ")
	}
	if !p.allHeaders {
		p.listedHeaders = strings.Join(parsed.AllowHeaders, ", ")
	}
	if len(parsed.ExposeHeaders) > 0 {
		p.preflight = append(p.preflight, v1alpha.Header{Name: exposeHeaders, Value: strings.Join(parsed.ExposeHeaders, ", ")})
	}
}

// OnRequest answers preflight requests, which do not go upstream. It refuses no other request: a browser shows a page only
// responses that name the page's origin, and access control is the task of other policies.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if req.Method != http.MethodOptions || !req.Headers.Has("origin") || !req.Headers.Has(requestMethod) {
		return nil, nil
	}
	return p.answer(req.Headers), nil
}

func (p *policy) answer(headers v1alpha.Headers) *v1alpha.ImmediateResponse {
	origin, method := headers.Get("origin"), headers.Get(requestMethod)
	if !p.allows(origin) {
		return refusal("pages of this origin may not call this API")
	}
	if !isSafelisted(method) && !slices.Contains(p.methods, method) && (!p.allMethods || !isMethod(method)) {
		return refusal("pages may not call this API with this method")
	}
	var names []string
	for line := range headers.Values(requestHeaders) {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.ToLower(strings.Trim(name, " \t")); name != "" {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if !p.allHeaders && !p.headers[name] || !isToken(name) {
			return refusal("pages may not send this API one of the requested headers")
		}
	}
	answer := append(slices.Clone(p.preflight), v1alpha.Header{Name: allowOrigin, Value: p.originValue(origin)},
		v1alpha.Header{Name: allowMethods, Value: cmp.Or(p.listedMethods, method)})
	if listed := cmp.Or(p.listedHeaders, strings.Join(names, ", ")); listed != "" {
		answer = append(answer, v1alpha.Header{Name: allowHeaders, Value: listed})
	}
	if p.private && headers.Get(requestPrivate) == "true" {
		answer = append(answer, v1alpha.Header{Name: allowPrivateNetwork, Value: "true"})
	}
	return &v1alpha.ImmediateResponse{StatusCode: http.StatusNoContent, Headers: answer}
}

// OnResponse sets the headers that name the origin that may read the response.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	headers := res.Request.Headers
	if res.Request.Method == http.MethodOptions && headers.Has("origin") && headers.Has(requestMethod) {
		return varyOfPreflight(), nil // OnRequest has answered the preflight request
	}
	switch origin := headers.Get("origin"); {
	case p.anyOrigin && !p.echo:
		return p.forAny, nil
	case origin == "" || !p.allows(origin):
		return p.forNone, nil
	default:
		return p.response(origin), nil
	}
}

// response returns the changes for an origin that may read the response; "" for no origin.
func (p *policy) response(origin string) *v1alpha.UpstreamResponseModifications {
	if origin == "" {
		return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Remove: corsHeaders, Append: vary}}
	}
	set := append([]v1alpha.Header{{Name: allowOrigin, Value: origin}}, p.common...)
	modifications := v1alpha.HeaderModifications{Remove: corsHeaders, Set: set}
	if origin != "*" {
		modifications.Append = vary
	}
	return &v1alpha.UpstreamResponseModifications{Headers: modifications}
}

// vary makes caches distinguish responses by the origin, even those that name none.
var vary = []v1alpha.Header{{Name: "vary", Value: "Origin"}}

// varyOfPreflight returns the change of the answer to a preflight request.
func varyOfPreflight() *v1alpha.UpstreamResponseModifications {
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Append: []v1alpha.Header{
		{Name: "vary", Value: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
	}}}
}

func (p *policy) allows(origin string) bool {
	return p.anyOrigin && (!p.echo || isOrigin(origin)) || p.origins[origin] || slices.ContainsFunc(p.wildcards, func(w wildcard) bool { return w.matches(origin) })
}

// matches reports whether the origin has one or more labels instead of the "*", and nothing else.
func (w wildcard) matches(origin string) bool {
	labels, found := strings.CutPrefix(origin, w.before)
	if !found {
		return false
	}
	labels, found = strings.CutSuffix(labels, w.after)
	return found && labels != "" && strings.Trim(labels, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" &&
		!strings.HasPrefix(labels, ".") && !strings.HasSuffix(labels, ".") && !strings.Contains(labels, "..")
}

// originValue returns the value of access-control-allow-origin.
func (p *policy) originValue(origin string) string {
	if p.anyOrigin && !p.echo {
		return "*"
	}
	return origin
}

// isOrigin reports whether a text has the form of an origin: others must not be echoed.
func isOrigin(text string) bool {
	return text == "null" || strings.Contains(text, "://") && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789+-_.:/[]") == ""
}

// isSafelisted reports whether a method needs no permission (https://fetch.spec.whatwg.org/#cors-safelisted-method).
func isSafelisted(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost
}

// isMethod reports whether a text is a method in upper case; other texts must not get into a header of the answer.
func isMethod(text string) bool {
	return text != "" && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

// isToken reports whether a name is a token (RFC 9110, 5.6.2); other names must not get into a header of the answer.
func isToken(name string) bool {
	return strings.Trim(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

func refusal(detail string) *v1alpha.ImmediateResponse {
	return &v1alpha.ImmediateResponse{
		StatusCode: http.StatusForbidden,
		Headers:    []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}},
		Body:       []byte(problem + detail + `"}`),
	}
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
