package chain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// UpstreamPath is a rule by which Envoy's routes rewrite the path for an upstream, once the last policy has run.
type UpstreamPath struct {
	Upstream     string // the upstream that policies have chosen; "" for the operation's own
	Base         string // replaces the API's context
	Pattern      string // matches the whole path, in place of Base; a path that it does not match stays
	Substitution string // in RE2's syntax: \1 is the first group
}

// rewritePattern is a rule's pattern, and its substitution in Go's syntax.
type rewritePattern struct {
	*regexp.Regexp // nil: the rule has none
	substitution   string
}

// newRewritePatterns returns the patterns of a chain's rules; nil: no rule has one, as in most chains.
func newRewritePatterns(rules []UpstreamPath) (patterns []rewritePattern, err error) {
	for n, rule := range rules {
		if rule.Pattern == "" {
			continue
		}
		pattern, err := regexp.Compile(rule.Pattern)
		if err != nil {
			return nil, fmt.Errorf("upstream path of %q: %w", rule.Upstream, err)
		}
		if patterns == nil {
			patterns = make([]rewritePattern, len(rules))
		}
		patterns[n] = rewritePattern{pattern, expansion(rule.Substitution)}
	}
	return patterns, nil
}

// expansion translates a substitution from RE2's syntax to Go's: `\1$\\` becomes `${1}$$\`.
func expansion(substitution string) string {
	var expanded strings.Builder
	for i := 0; i < len(substitution); i++ {
		switch c := substitution[i]; {
		case c == '$':
			expanded.WriteString("$$")
		case c != '\\' || i+1 == len(substitution):
			expanded.WriteByte(c)
		case '0' <= substitution[i+1] && substitution[i+1] <= '9':
			i++
			expanded.WriteString("${" + substitution[i:i+1] + "}")
		default:
			i++
			expanded.WriteByte(substitution[i])
		}
	}
	return expanded.String()
}

// rewritePath returns the path that the upstream would get; "" if nothing goes upstream, or the upstream is not known yet.
func (c *Chain) rewritePath(path, upstream string) string {
	at := slices.IndexFunc(c.spec.UpstreamPaths, func(rule UpstreamPath) bool { return rule.Upstream == upstream })
	if at < 0 {
		return ""
	}
	if c.patterns != nil && c.patterns[at].Regexp != nil {
		return c.patterns[at].ReplaceAllString(path, c.patterns[at].substitution)
	}
	base, context := c.spec.UpstreamPaths[at].Base, strings.TrimSuffix(c.spec.Context, "/")
	below, under := strings.CutPrefix(path, context)
	if base == context || !under {
		return path
	}
	if rewritten := base + below; rewritten != "" {
		return rewritten
	}
	return "/"
}
