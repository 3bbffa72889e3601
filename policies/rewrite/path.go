package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"gatewright.dev/sdk/policy/template"
	"gatewright.dev/sdk/policy/v1alpha"
)

// pathRewrite rewrites a path. Both paths are below the API's context and percent-encoded, and are "" or begin with "/". An
// error is the client's mistake: the request lacks a value that the path needs, or has one that would leave its segment.
type pathRewrite func(req *v1alpha.RequestContext, below string) (result string, changed bool, err error)

type pathSpec struct {
	Prefix *struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"prefix"`
	Template string `json:"template"`
	Regex    *struct {
		Pattern     string `json:"pattern"`
		Replacement string `json:"replacement"`
	} `json:"regex"`
}

func (w *pathSpec) parse(operation string) (pathRewrite, error) {
	switch {
	case w.Prefix != nil:
		return byPrefix(w.Prefix.From, w.Prefix.To)
	case w.Regex != nil:
		return byRegex(w.Regex.Pattern, w.Regex.Replacement)
	}
	return byTemplate(w.Template, operation)
}

// byPrefix replaces whole segments at the beginning of a path.
func byPrefix(from, to string) (pathRewrite, error) {
	from, to = strings.TrimSuffix(from, "/"), strings.TrimSuffix(to, "/")
	if err := checkPath(to); err != nil {
		return nil, fmt.Errorf("prefix.to: %w", err)
	}
	return func(_ *v1alpha.RequestContext, below string) (string, bool, error) {
		rest, found := strings.CutPrefix(below, from)
		if !found || rest != "" && rest[0] != '/' {
			return "", false, nil
		}
		return to + rest, true, nil
	}, nil
}

// byTemplate replaces any path by a template's.
func byTemplate(text, operation string) (pathRewrite, error) {
	parsed, err := template.Parse(text, operation)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if constant, ok := parsed.Constant(); ok {
		if err := checkPath(constant); err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
	}
	return func(req *v1alpha.RequestContext, _ string) (string, bool, error) {
		leavesSegment := false
		result, complete := parsed.Of(req, func(value string) string {
			leavesSegment = leavesSegment || !isOneSegment(value)
			return template.URIComponent(value)
		})
		if !complete {
			return "", false, errors.New("the request lacks a value that the upstream path needs")
		}
		if leavesSegment {
			return "", false, errOutside
		}
		return result, true, nil
	}, nil
}

// isOneSegment reports whether a value stays within its segment, even for an upstream that decodes
// it once more.
func isOneSegment(value string) bool {
	for range 2 {
		if value == "." || value == ".." || strings.ContainsAny(value, "/\\\x00") {
			return false
		}
		value = v1alpha.PercentDecoded(value)
	}
	return true
}

// mostInstructions bounds a regular expression's program; conditions have the same bound.
const mostInstructions = 500

// byRegex replaces the matches of a pattern in the original path, which is percent-encoded.
func byRegex(pattern, replacement string) (pathRewrite, error) {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("regex.pattern: expected a regular expression (RE2), got %q: %w", pattern, err)
	}
	if size := instructions(pattern); size > mostInstructions {
		return nil, fmt.Errorf("regex.pattern: expected at most %d instructions, got %d", mostInstructions, size)
	}
	if err := checkGroups(compiled, replacement); err != nil {
		return nil, fmt.Errorf("regex.replacement: %w", err)
	}
	return func(_ *v1alpha.RequestContext, below string) (string, bool, error) {
		if !compiled.MatchString(below) {
			return "", false, nil
		}
		return compiled.ReplaceAllString(below, replacement), true, nil
	}, nil
}

func instructions(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // regexp.Compile has reported the mistake
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	return len(program.Inst)
}

var group = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+)|\$)?`)

// checkGroups refuses references to groups that the pattern does not have, which Go's Expand would replace by nothing.
func checkGroups(pattern *regexp.Regexp, replacement string) error {
	for _, match := range group.FindAllStringSubmatch(replacement, -1) {
		name := match[1] + match[2]
		switch {
		case match[0] == "$$":
		case name == "":
			return fmt.Errorf(`expected "$1", "${1}", "${name}" or "$$", got a "$" alone in %q`, replacement)
		case pattern.SubexpIndex(name) < 0 && !isGroupNumber(name, pattern.NumSubexp()):
			return fmt.Errorf(`expected a group of the pattern, got %q; write "${1}x" for a group with a letter after it`, match[0])
		}
	}
	return nil
}

func isGroupNumber(name string, groups int) bool {
	for n := range groups + 1 {
		if name == fmt.Sprint(n) {
			return true
		}
	}
	return false
}

// ---------------------------------------------------------------- paths

var errOutside = errors.New("a part of the path is a dot segment or contains an encoded slash")

// checkPath checks a path before the engine does: an invalid path made from the client's values is the client's mistake.
func checkPath(below string) error {
	if below != "" && below[0] != '/' {
		return errors.New(`expected a path that begins with "/"`)
	}
	if strings.Contains(below, "//") {
		return errors.New("expected a path without empty segments")
	}
	for segment := range strings.SplitSeq(below, "/") {
		decoded, _, _ := strings.Cut(v1alpha.PercentDecoded(segment), ";")
		if decoded == "." || decoded == ".." || strings.ContainsAny(decoded, "/\\\x00") {
			return errOutside
		}
	}
	return nil
}

// belowContext returns the path without the API's context.
func belowContext(req *v1alpha.RequestContext) string {
	return strings.TrimPrefix(req.RawPath, strings.TrimSuffix(req.APIContext, "/"))
}

func underContext(req *v1alpha.RequestContext, below string) string {
	path := strings.TrimSuffix(req.APIContext, "/") + below
	if path == "" {
		return "/"
	}
	return path
}
