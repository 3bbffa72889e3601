package chain

import (
	"fmt"
	"regexp"
	"strings"
)

// UpstreamPath is a rule by which Envoy's routes rewrite the path for an upstream, once the last policy has run.
type UpstreamPath struct {
	Upstream     string // the upstream that policies have chosen; "" for the operation's own
	Base         string // replaces the API's context
	Pattern      string // matches the whole path, in place of Base; a path that it does not match stays
	Substitution string // in RE2's syntax: \1 is the first group
}

// upstreamPaths are a chain's rules, by upstream.
type upstreamPaths map[string]rewriting

type rewriting struct {
	context, base string
	pattern       *regexp.Regexp
	substitution  string
}

func newUpstreamPaths(paths []UpstreamPath, context string) (upstreamPaths, error) {
	found := make(upstreamPaths, len(paths))
	for _, path := range paths {
		made := rewriting{context: strings.TrimSuffix(context, "/"), base: path.Base}
		if path.Pattern != "" {
			pattern, err := regexp.Compile(path.Pattern)
			if err != nil {
				return nil, fmt.Errorf("upstream path of %q: %w", path.Upstream, err)
			}
			made.pattern, made.substitution = pattern, expansion(path.Substitution)
		}
		found[path.Upstream] = made
	}
	return found, nil
}

// expansion translates a substitution from RE2's syntax to Go's: `\1$\\` becomes `${1}$$\`.
func expansion(substitution string) string {
	var made strings.Builder
	for i := 0; i < len(substitution); i++ {
		switch c := substitution[i]; {
		case c == '$':
			made.WriteString("$$")
		case c != '\\' || i+1 == len(substitution):
			made.WriteByte(c)
		case '0' <= substitution[i+1] && substitution[i+1] <= '9':
			i++
			made.WriteString("${" + substitution[i:i+1] + "}")
		default:
			i++
			made.WriteByte(substitution[i])
		}
	}
	return made.String()
}

// rewrite returns the path that the upstream would get; "" if nothing goes upstream, or the upstream is not known yet.
func (p upstreamPaths) of(path, upstream string) string {
	to, known := p[upstream]
	if !known {
		return ""
	}
	if to.pattern != nil {
		return to.pattern.ReplaceAllString(path, to.substitution)
	}
	below, under := strings.CutPrefix(path, to.context)
	if to.base == to.context || !under {
		return path
	}
	if made := to.base + below; made != "" {
		return made
	}
	return "/"
}
