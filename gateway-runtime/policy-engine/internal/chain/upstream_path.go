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

// upstreamPaths are a chain's rules, a few: one for each upstream.
type upstreamPaths []rewriteRule

type rewriteRule struct {
	upstream      string
	context, base string
	pattern       *regexp.Regexp
	substitution  string
}

func newUpstreamPaths(paths []UpstreamPath, context string) (upstreamPaths, error) {
	rules := make(upstreamPaths, 0, len(paths))
	for _, path := range paths {
		rule := rewriteRule{upstream: path.Upstream, context: strings.TrimSuffix(context, "/"), base: path.Base}
		if path.Pattern != "" {
			pattern, err := regexp.Compile(path.Pattern)
			if err != nil {
				return nil, fmt.Errorf("upstream path of %q: %w", path.Upstream, err)
			}
			rule.pattern, rule.substitution = pattern, expansion(path.Substitution)
		}
		rules = append(rules, rule)
	}
	return rules, nil
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

// rewrite returns the path that the upstream would get; "" if nothing goes upstream, or the upstream is not known yet.
func (p upstreamPaths) rewrite(path, upstream string) string {
	at := slices.IndexFunc(p, func(rule rewriteRule) bool { return rule.upstream == upstream })
	if at < 0 {
		return ""
	}
	rule := &p[at]
	if rule.pattern != nil {
		return rule.pattern.ReplaceAllString(path, rule.substitution)
	}
	below, under := strings.CutPrefix(path, rule.context)
	if rule.base == rule.context || !under {
		return path
	}
	if rewritten := rule.base + below; rewritten != "" {
		return rewritten
	}
	return "/"
}
