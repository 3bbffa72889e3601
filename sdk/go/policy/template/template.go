// Package template makes texts of a request: "${path.id}.${api.name}". What a policy's parameters may name is a closed
// set, and what a client has sent is inserted by a function of who uses the text, which keeps it what it is: one value.
package template

import (
	"fmt"
	"iter"
	"net"
	"regexp"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Template is a text with placeholders. It does not change.
type Template struct{ parts []part }

// part is a literal, or what a request has.
type part struct {
	literal string
	of      func(req *v1alpha.RequestContext) string // nil: literal
}

// fixed are the placeholders without a name of their own.
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

// Known are all placeholders, for messages.
const Known = "client.address, client.ip, request.id, request.method, request.path, request.query, request.scheme, request.host, " +
	"api.name, api.version, api.operation, identity.subject, identity.issuer, identity.method, path.NAME, query.NAME and header.NAME"

var (
	pathName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

// Parse makes a template. operation is what the policy is attached to, v1alpha.Metadata.Operation: a parameter that its
// path has not is an error; "" is the API, of whose operations one may have it. "$${" stands for "${".
func Parse(text, operation string) (*Template, error) {
	t, rest := &Template{}, text
	for rest != "" {
		before, behind, found := strings.Cut(rest, "${")
		if found && strings.HasSuffix(before, "$") {
			t.add(part{literal: before + "{"}) // the "$" before it is the one that stands
			rest = behind
			continue
		}
		if t.add(part{literal: before}); !found {
			break
		}
		name, after, closed := strings.Cut(behind, "}")
		if !closed {
			return nil, fmt.Errorf(`expected "}" behind "${", got %q; write "$${" for a "${" that stands for itself`, text)
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
		return func(req *v1alpha.RequestContext) string { return joined(req.Headers.Values(own)) }, nil
	}
	return nil, fmt.Errorf(`expected one of %s, got ${%s}; write "$${" for a "${" that stands for itself`, Known, name)
}

// Constant is the text where it has no placeholders.
func (t *Template) Constant() (text string, ok bool) {
	var all strings.Builder
	for _, p := range t.parts {
		if p.of != nil {
			return "", false
		}
		all.WriteString(p.literal)
	}
	return all.String(), true
}

// Of is the text for a request, with insert of each value in place of its placeholder. whole: each of them had one.
func (t *Template) Of(req *v1alpha.RequestContext, insert func(value string) string) (text string, whole bool) {
	if len(t.parts) == 1 && t.parts[0].of != nil {
		value := t.parts[0].of(req)
		return insert(value), value != ""
	}
	var made strings.Builder
	whole = true
	for n := range t.parts {
		if t.parts[n].of == nil {
			made.WriteString(t.parts[n].literal)
			continue
		}
		value := t.parts[n].of(req)
		whole = whole && value != ""
		made.WriteString(insert(value))
	}
	return made.String(), whole
}

func clientIP(req *v1alpha.RequestContext) string {
	ip, _, err := net.SplitHostPort(req.ClientAddress)
	if err != nil {
		return ""
	}
	return ip
}

func identity(req *v1alpha.RequestContext) v1alpha.Identity {
	found, _ := v1alpha.IdentityOf(req.Metadata)
	return found
}

// parameters are all values of a query parameter, decoded as forms are. An upstream may take any of them, so that one alone
// would say less than the request does.
func parameters(query, name string) string {
	return joined(func(yield func(string) bool) {
		for pair := range strings.SplitSeq(query, "&") {
			if key, value, _ := strings.Cut(pair, "="); DecodedForm(key) == name && !yield(DecodedForm(value)) {
				return
			}
		}
	})
}

// joined are the values as one, as lines of a header are (RFC 9110, 5.3).
func joined(values iter.Seq[string]) string {
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
