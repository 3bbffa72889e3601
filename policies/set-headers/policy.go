// Package setheaders is the policy set-headers: it sets, appends and removes headers of the request to upstream and of the
// response to the client, with values of constants and of what the request has.
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

	requestAction  *v1alpha.UpstreamRequestModifications  // the same for every request; nil: there is none such
	responseAction *v1alpha.UpstreamResponseModifications // likewise
}

// GetPolicy builds an instance. Parameters: {"request": {"set": [{"name", "value"}…], "append": […], "remove": ["x-a"…]},
// "response": the same}. A placeholder that is unknown, or a parameter that the operation's path has not, is an error.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given struct {
		Request  written `json:"request"`
		Response written `json:"response"`
	}
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	made := &policy{}
	var err error
	if made.request, err = given.Request.parse("request", metadata.Operation); err != nil {
		return nil, err
	}
	if made.response, err = given.Response.parse("response", metadata.Operation); err != nil {
		return nil, err
	}
	if made.request.isConstant() {
		made.requestAction = &v1alpha.UpstreamRequestModifications{Headers: made.request.constant}
	}
	if made.response.isConstant() {
		made.responseAction = &v1alpha.UpstreamResponseModifications{Headers: made.response.constant}
	}
	return made, nil
}

// OnRequest changes the request's headers.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if p.requestAction != nil {
		return p.requestAction, nil
	}
	return &v1alpha.UpstreamRequestModifications{Headers: p.request.of(req)}, nil
}

// OnResponse changes the response's headers. Its values are of the request as it went upstream.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if p.responseAction != nil {
		return p.responseAction, nil
	}
	return &v1alpha.UpstreamResponseModifications{Headers: p.response.of(res.Request)}, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks says that the policy waits for nothing.
func (*policy) NeverBlocks() {}

// ---------------------------------------------------------------- changes

// written are the changes of one direction as the parameters have them.
type written struct {
	Set    []writtenHeader `json:"set"`
	Append []writtenHeader `json:"append"`
	Remove []string        `json:"remove"`
}

type writtenHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// changes are those of one direction. What is the same for every request is made once.
type changes struct {
	constant  v1alpha.HeaderModifications
	set, more []header // whose values are made for each request
}

type header struct {
	name  string
	value *template.Template
}

func (w *written) parse(direction, operation string) (changes, error) {
	made := changes{}
	made.constant.Remove = append(made.constant.Remove, w.Remove...)
	var err error
	if made.constant.Set, made.set, err = parse(w.Set, direction+".set", operation); err != nil {
		return changes{}, err
	}
	made.constant.Append, made.more, err = parse(w.Append, direction+".append", operation)
	for _, one := range made.set { // where its value comes out empty, a client's own must not stand for it
		made.constant.Remove = append(made.constant.Remove, one.name)
	}
	return made, err
}

func parse(headers []writtenHeader, where, operation string) (constant []v1alpha.Header, made []header, err error) {
	for n, one := range headers {
		value, err := template.Parse(one.Value, operation)
		if err != nil {
			return nil, nil, fmt.Errorf("%s[%d].value: %w", where, n, err)
		}
		if text, ok := value.Constant(); ok {
			constant = append(constant, v1alpha.Header{Name: one.Name, Value: text})
		} else {
			made = append(made, header{one.Name, value})
		}
	}
	return constant, made, nil
}

func (c *changes) isConstant() bool { return len(c.set) == 0 && len(c.more) == 0 }

// of are the changes for a request.
func (c *changes) of(req *v1alpha.RequestContext) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{
		Remove: c.constant.Remove, Set: with(c.constant.Set, c.set, req), Append: with(c.constant.Append, c.more, req),
	}
}

// with are the constant headers and those that are made, but for what comes out empty.
func with(constant []v1alpha.Header, made []header, req *v1alpha.RequestContext) []v1alpha.Header {
	if len(made) == 0 {
		return constant
	}
	all := make([]v1alpha.Header, len(constant), len(constant)+len(made))
	copy(all, constant)
	for n := range made {
		text, _ := made[n].value.Of(req, template.HeaderValue)
		if text = strings.Trim(text, " \t"); text != "" {
			all = append(all, v1alpha.Header{Name: made[n].name, Value: text})
		}
	}
	return all
}
