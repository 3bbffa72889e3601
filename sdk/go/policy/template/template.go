// Package template makes texts from a request: "${path.id}.${api.name}". The placeholders that a policy's parameters may use are a
// closed set, and an insert function of the caller's encodes a client's values, so that each remains one value.
package template

import (
	"fmt"
	"iter"
	"net"
	"regexp"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Template is a text with placeholders. It is immutable.
type Template struct{ parts []part }

// part is a literal, or a value of the request.
type part struct {
	literal string
	of      func(req *v1alpha.RequestContext) string // nil: literal
}

// fixed are the placeholders whose names have no variable part.
var fixed = map[string]func(req *v1alpha.RequestContext) string{
	"client.address":   func(req *v1alpha.RequestContext) string { return req.ClientAddress },
	"client.ip":        clientIP,
	"request.id":       func(req *v1alpha.RequestContext) string { return req.RequestID },
	"request.method":   func(req *v1alpha.RequestContext) string { return req.Method },
	"request.path":     func(req *v1alpha.RequestContext) string { return req.Path },
	"request.query":    func(req *v1alpha.RequestContext) string { return req.Query },
	"request.scheme":   func(req *v1alpha.RequestContext) string { return req.Scheme },
	"request.host":     func(req *v1alpha.RequestContext) string { return req.Authority },
	"api.name":         func(req *v1alpha.RequestContext) string { return req.APIName },
	"api.version":      func(req *v1alpha.RequestContext) string { return req.APIVersion },
	"api.operation":    func(req *v1alpha.RequestContext) string { return req.Operation },
	"identity.subject": func(req *v1alpha.RequestContext) string { return identity(req).Subject },
	"identity.issuer":  func(req *v1alpha.RequestContext) string { return identity(req).Issuer },
	"identity.method":  func(req *v1alpha.RequestContext) string { return identity(req).Method },
}

// Known lists all placeholders, for messages.
const Known = "client.address, client.ip, request.id, request.method, request.path, request.query, request.scheme, request.host, " +
	"api.name, api.version, api.operation, identity.subject, identity.issuer, identity.method, path.NAME, query.NAME and header.NAME"

var (
	pathName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

// Parse makes a template. operation is that of the attachment, v1alpha.Metadata.Operation: a parameter that its
// path does not have is an error; "" is the API, one of whose operations may have it. "$${" stands for "${".
func Parse(text, operation string) (*Template, error) {
	t, rest := &Template{}, text
	for rest != "" {
		before, behind, found := strings.Cut(rest, "${")
		if found && strings.HasSuffix(before, "$") {
			t.add(part{literal: before + "{"}) // the "$" in front of it is the literal one
			rest = behind
			continue
		}
		if t.add(part{literal: before}); !found {
			break
		}
		name, after, closed := strings.Cut(behind, "}")
		if !closed {
			return nil, fmt.Errorf(`expected "}" behind "${", got %q; write "$${" for a literal "${"`, text)
		}
		of, err := placeholder(name, operation)
		if err != nil {
			return nil, err
		}
		t.add(part{of: of})
		rest = after
	}
	return t, nil
}

func (t *Template) add(p part) {
	if p.of != nil || p.literal != "" {
		t.parts = append(t.parts, p)
	}
}

func placeholder(name, operation string) (func(req *v1alpha.RequestContext) string, error) {
	if of := fixed[name]; of != nil {
		return of, nil
	}
	kind, own, _ := strings.Cut(name, ".")
	switch {
	case kind == "path" && pathName.MatchString(own):
		if operation != "" && !strings.Contains(operation, "/{"+own+"}") {
			return nil, fmt.Errorf("expected a parameter of the operation's path, %s, got ${%s}", operation, name)
		}
		return func(req *v1alpha.RequestContext) string { return req.PathParams.Get(own) }, nil
	case kind == "query" && own != "":
		return func(req *v1alpha.RequestContext) string { return parameters(req.Query, own) }, nil
	case kind == "header" && headerName.MatchString(own):
		return func(req *v1alpha.RequestContext) string { return join(req.Headers.Values(own)) }, nil
	}
	return nil, fmt.Errorf(`expected one of %s, got ${%s}; write "$${" for a literal "${"`, Known, name)
}

// Constant returns the text if it has no placeholders.
func (t *Template) Constant() (text string, ok bool) {
	var literals strings.Builder
	for _, p := range t.parts {
		if p.of != nil {
			return "", false
		}
		literals.WriteString(p.literal)
	}
	return literals.String(), true
}

// Of returns the text for a request. insert encodes each value for its placeholder. whole reports whether each had one.
func (t *Template) Of(req *v1alpha.RequestContext, insert func(value string) string) (text string, whole bool) {
	if len(t.parts) == 1 && t.parts[0].of != nil {
		value := t.parts[0].of(req)
		return insert(value), value != ""
	}
	var result strings.Builder
	whole = true
	for n := range t.parts {
		if t.parts[n].of == nil {
			result.WriteString(t.parts[n].literal)
			continue
		}
		value := t.parts[n].of(req)
		whole = whole && value != ""
		result.WriteString(insert(value))
	}
	return result.String(), whole
}

func clientIP(req *v1alpha.RequestContext) string {
	ip, _, err := net.SplitHostPort(req.ClientAddress)
	if err != nil {
		return ""
	}
	return ip
}

func identity(req *v1alpha.RequestContext) v1alpha.Identity {
	result, _ := v1alpha.IdentityOf(req.Metadata)
	return result
}

// parameters returns all values of a query parameter, decoded as in forms. An upstream may use any of them, so one alone
// would say less than the request does.
func parameters(query, name string) string {
	return join(func(yield func(string) bool) {
		for pair := range strings.SplitSeq(query, "&") {
			if key, value, _ := strings.Cut(pair, "="); DecodedForm(key) == name && !yield(DecodedForm(value)) {
				return
			}
		}
	})
}

// join joins the values, like lines of a header (RFC 9110, 5.3).
func join(values iter.Seq[string]) string {
	text, count := "", 0
	for value := range values {
		if count++; count == 1 {
			text = value
		} else {
			text += ", " + value
		}
	}
	return text
}
