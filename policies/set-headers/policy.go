// Package setheaders is the policy set-headers: it sets, appends and removes headers of the request to the upstream and of
// the response to the client. Values are constants or contain values of the request.
package setheaders

import (
	"context"
	"fmt"
	"strings"

	"gatewright.dev/sdk/policy/template"
	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	request, response changes

	requestAction  *v1alpha.UpstreamRequestModifications  // the same for every request; nil: it depends on the request
	responseAction *v1alpha.UpstreamResponseModifications // likewise
}

// GetPolicy builds an instance. Parameters: {"request": {"set": [{"name", "value"}…], "append": […], "remove": ["x-a"…]},
// "response": the same}. An unknown placeholder, and a parameter that the operation's path does not have, are errors.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed struct {
		Request  changesSpec `json:"request"`
		Response changesSpec `json:"response"`
	}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{}
	var err error
	if p.request, err = parsed.Request.parse("request", metadata.Operation); err != nil {
		return nil, err
	}
	if p.response, err = parsed.Response.parse("response", metadata.Operation); err != nil {
		return nil, err
	}
	if p.request.isConstant() {
		p.requestAction = &v1alpha.UpstreamRequestModifications{Headers: p.request.constant}
	}
	if p.response.isConstant() {
		p.responseAction = &v1alpha.UpstreamResponseModifications{Headers: p.response.constant}
	}
	return p, nil
}

// OnRequest changes the request's headers.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if p.requestAction != nil {
		return p.requestAction, nil
	}
	return &v1alpha.UpstreamRequestModifications{Headers: p.request.of(req)}, nil
}

// OnResponse changes the response's headers. Its values are those of the request as it went upstream.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if p.responseAction != nil {
		return p.responseAction, nil
	}
	return &v1alpha.UpstreamResponseModifications{Headers: p.response.of(res.Request)}, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}

// ---------------------------------------------------------------- changes

// changesSpec are the parameters for one direction.
type changesSpec struct {
	Set    []headerSpec `json:"set"`
	Append []headerSpec `json:"append"`
	Remove []string     `json:"remove"`
}

type headerSpec struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// changes are the changes of one direction. Constant headers are made once.
type changes struct {
	constant                  v1alpha.HeaderModifications
	dynamicSet, dynamicAppend []header // whose values depend on the request
}

type header struct {
	name  string
	value *template.Template
}

func (w *changesSpec) parse(direction, operation string) (changes, error) {
	result := changes{}
	result.constant.Remove = append(result.constant.Remove, w.Remove...)
	var err error
	if result.constant.Set, result.dynamicSet, err = parse(w.Set, direction+".set", operation); err != nil {
		return changes{}, err
	}
	result.constant.Append, result.dynamicAppend, err = parse(w.Append, direction+".append", operation)
	for _, h := range result.dynamicSet { // so that the client's header does not remain if the value is empty
		result.constant.Remove = append(result.constant.Remove, h.name)
	}
	return result, err
}

func parse(headers []headerSpec, field, operation string) (constant []v1alpha.Header, dynamic []header, err error) {
	for n, h := range headers {
		value, err := template.Parse(h.Value, operation)
		if err != nil {
			return nil, nil, fmt.Errorf("%s[%d].value: %w", field, n, err)
		}
		if text, ok := value.Constant(); ok {
			constant = append(constant, v1alpha.Header{Name: h.Name, Value: text})
		} else {
			dynamic = append(dynamic, header{h.Name, value})
		}
	}
	return constant, dynamic, nil
}

func (c *changes) isConstant() bool { return len(c.dynamicSet) == 0 && len(c.dynamicAppend) == 0 }

// of returns the changes for a request.
func (c *changes) of(req *v1alpha.RequestContext) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{
		Remove: c.constant.Remove, Set: evaluate(c.constant.Set, c.dynamicSet, req), Append: evaluate(c.constant.Append, c.dynamicAppend, req),
	}
}

// evaluate returns the constant headers, and the dynamic ones whose values are not empty.
func evaluate(constant []v1alpha.Header, dynamic []header, req *v1alpha.RequestContext) []v1alpha.Header {
	if len(dynamic) == 0 {
		return constant
	}
	result := make([]v1alpha.Header, len(constant), len(constant)+len(dynamic))
	copy(result, constant)
	for n := range dynamic {
		text, _ := dynamic[n].value.Of(req, template.HeaderValue)
		if text = strings.Trim(text, " \t"); text != "" {
			result = append(result, v1alpha.Header{Name: dynamic[n].name, Value: text})
		}
	}
	return result
}
