package apikeyauth

import (
	"encoding/base64"
	"net/url"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// authorization is the header of basic authentication.
const authorization = "authorization"

// places are the names of the header, the query parameter and the cookie with the key, "" for none, and whether it may be the
// password of basic authentication (RFC 7617).
type places struct {
	header, query, cookie string
	basic                 bool
}

// credential is a key of a request. user is the name that came with it by basic authentication; nil: it came otherwise.
type credential struct {
	key  string
	user *string
}

// isOf reports whether the owner is the one that the client says it is, if it says so.
func (c credential) isOf(o *owner) bool { return c.user == nil || *c.user == o.name }

// find returns the last key of the request, and the number of keys.
func (p places) find(req *v1alpha.RequestContext) (found credential, count int) {
	add := func(value string) {
		found = credential{key: value}
		count++
	}
	if p.basic {
		lines := 0
		for value := range req.Headers.Values(authorization) {
			lines++
			if user, password, ok := basicCredentials(value); ok {
				add(password)
				found.user = &user
			}
		}
		if count > 0 {
			count = lines // upstream might read another line
		}
	}
	if p.header != "" {
		for value := range req.Headers.Values(p.header) {
			add(value)
		}
	}
	if p.query != "" && req.Query != "" {
		for part := range strings.SplitSeq(req.Query, "&") {
			if value, ok := p.inQuery(part); ok {
				add(value)
			}
		}
	}
	if p.cookie != "" {
		for line := range req.Headers.Values("cookie") {
			for part := range strings.SplitSeq(line, ";") {
				if value, ok := p.inCookie(part); ok {
					add(value)
				}
			}
		}
	}
	return found, count
}

// basicCredentials returns what a client says by basic authentication. ok is false for another scheme.
func basicCredentials(value string) (user, password string, ok bool) {
	scheme, encoded, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return "", "", true
	}
	user, password, _ = strings.Cut(string(decoded), ":")
	return user, password, true
}

// inQuery returns the key in a part of the query. ok is false if the part is another parameter, or its name cannot be decoded.
func (p places) inQuery(part string) (value string, ok bool) {
	name, value, _ := strings.Cut(part, "=")
	if decoded, err := url.QueryUnescape(name); err != nil || decoded != p.query {
		return "", false
	}
	decoded, err := url.QueryUnescape(value)
	if err != nil {
		return "", true
	}
	return decoded, true
}

func (p places) inCookie(part string) (value string, ok bool) {
	name, value, _ := strings.Cut(part, "=")
	return strings.TrimSpace(value), strings.TrimSpace(name) == p.cookie
}

// remove removes the key from the request, and leaves all else unchanged.
func (p places) remove(req *v1alpha.RequestContext, modifications *v1alpha.UpstreamRequestModifications) {
	if p.header != "" && req.Headers.Has(p.header) {
		modifications.Headers.Remove = append(modifications.Headers.Remove, p.header)
	}
	if p.query != "" && req.Query != "" {
		rest := removeParts(req.Query, "&", func(part string) bool { _, ok := p.inQuery(part); return ok })
		if rest != req.Query {
			modifications.Query = &rest
		}
	}
	if found, _ := (places{basic: p.basic}).find(req); found.user != nil {
		modifications.Headers.Remove = append(modifications.Headers.Remove, authorization)
	}
	if p.cookie != "" && req.Headers.Has("cookie") {
		p.removeCookie(req, modifications)
	}
}

func (p places) removeCookie(req *v1alpha.RequestContext, modifications *v1alpha.UpstreamRequestModifications) {
	var lines []v1alpha.Header
	changed := false
	for line := range req.Headers.Values("cookie") {
		rest := strings.TrimSpace(removeParts(line, ";", func(part string) bool { _, ok := p.inCookie(part); return ok }))
		changed = changed || rest != line
		if rest != "" {
			lines = append(lines, v1alpha.Header{Name: "cookie", Value: rest})
		}
	}
	switch {
	case changed && len(lines) == 0:
		modifications.Headers.Remove = append(modifications.Headers.Remove, "cookie")
	case changed:
		modifications.Headers.Set = append(modifications.Headers.Set, lines...)
	}
}

// removeParts removes the parts of a text, between separators, for which isKey is true.
func removeParts(text, separator string, isKey func(part string) bool) string {
	parts := strings.Split(text, separator)
	rest := parts[:0]
	for _, part := range parts {
		if !isKey(part) {
			rest = append(rest, part)
		}
	}
	return strings.Join(rest, separator)
}
