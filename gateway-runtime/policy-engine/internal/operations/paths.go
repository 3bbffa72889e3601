package operations

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

type pathKind int

const (
	anyPath pathKind = iota
	exactPath
	prefixPath // a path, and all below it
	segmentedPath
	regexPath
)

// pathMatcher matches a path without its query.
type pathMatcher struct {
	kind     pathKind
	text     string
	segments segments
	regex    *regexp.Regexp
	needs    string // a path that the regex matches has one of these characters, and most paths have none; "": nothing is known
}

// firstPaths are the matchers of first rows, by their patterns. Each API has one of them, so that they are compiled once.
var firstPaths = map[string]pathMatcher{
	envoynames.EscapedSlashPathPattern: mustMatch(envoynames.EscapedSlashPathPattern, "%"),
	envoynames.DoubtfulPathPattern:     mustMatch(envoynames.DoubtfulPathPattern, "%;"),
}

func mustMatch(pattern, needs string) pathMatcher {
	compiled, err := compileWhole(pattern)
	if err != nil {
		panic(err) // the pattern is a constant
	}
	return pathMatcher{kind: regexPath, regex: compiled, needs: needs}
}

var escapedSlash = regexp.MustCompile(envoynames.EscapedSlashPattern)

func newPathMatcher(message *nodev1.PathMatch) (pathMatcher, error) {
	switch match := message.GetMatch().(type) {
	case nil:
		return pathMatcher{kind: anyPath}, nil
	case *nodev1.PathMatch_Exact:
		return pathMatcher{kind: exactPath, text: match.Exact}, nil
	case *nodev1.PathMatch_Prefix:
		return pathMatcher{kind: prefixPath, text: match.Prefix}, nil
	case *nodev1.PathMatch_Regex:
		if first, ok := firstPaths[match.Regex]; ok {
			return first, nil
		}
		if found, ok := segmentsOf(match.Regex); ok {
			return pathMatcher{kind: segmentedPath, segments: found}, nil
		}
		compiled, err := compileWhole(match.Regex)
		return pathMatcher{kind: regexPath, regex: compiled}, err
	default:
		return pathMatcher{}, fmt.Errorf("match: expected exact, prefix or regex, got %T", match)
	}
}

// compileWhole compiles RE2 that matches the whole of a text, as Envoy does.
func compileWhole(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("regex: expected RE2 syntax: %w", err)
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

func (m *pathMatcher) matches(path string) bool {
	switch m.kind {
	case exactPath:
		return path == m.text
	case prefixPath:
		return strings.HasPrefix(path, m.text) && (len(path) == len(m.text) || path[len(m.text)] == '/')
	case segmentedPath:
		return m.segments.match(path)
	case regexPath:
		return (m.needs == "" || strings.ContainsAny(path, m.needs)) && m.regex.MatchString(path)
	default:
		return true
	}
}

// segments is a path of literal text and parameters, which are one or more characters but slashes: what most regular
// expressions of paths say, in a tenth of the time.
type segments struct {
	texts []string // one parameter stands between two of these
	end   pathEnd
}

type pathEnd int

const (
	endsThere    pathEnd = iota
	endsInSlash          // or in none: /?
	endsAnywhere         // or anything below: (?:/.*)?
)

func (s *segments) match(path string) bool {
	rest, ok := strings.CutPrefix(path, s.texts[0])
	for _, text := range s.texts[1:] {
		if !ok {
			return false
		}
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			slash = len(rest)
		}
		if slash == 0 {
			return false
		}
		rest, ok = strings.CutPrefix(rest[slash:], text)
	}
	switch {
	case !ok:
		return false
	case rest == "":
		return true
	case s.end == endsInSlash:
		return rest == "/"
	default:
		return s.end == endsAnywhere && rest[0] == '/'
	}
}

var errOther = errors.New("not of literal text and parameters")

// segmentsOf reads a regular expression that consists of literal text, of parameters ([^/]+) that are whole segments, and
// perhaps of one of the ends.
func segmentsOf(pattern string) (segments, bool) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || parsed.Op != syntax.OpConcat {
		return segments{}, false
	}
	found := segments{texts: []string{""}}
	for n, part := range parsed.Sub {
		if err := found.add(part, n == 0, n == len(parsed.Sub)-1); err != nil {
			return segments{}, false
		}
	}
	for n, text := range found.texts[1:] {
		isLast := n == len(found.texts)-2
		if !strings.HasPrefix(text, "/") && (text != "" || !isLast) {
			return segments{}, false
		}
	}
	return found, true
}

func (s *segments) add(part *syntax.Regexp, first, last bool) error {
	at := len(s.texts) - 1
	switch {
	case part.Op == syntax.OpBeginText && first:
	case isLiteral(part):
		s.texts[at] += string(part.Rune)
	case isParameter(part):
		s.texts = append(s.texts, "")
	case part.Op == syntax.OpQuest && last && isSlash(part.Sub[0]):
		s.end = endsInSlash
	case part.Op == syntax.OpQuest && last && isBelow(part.Sub[0]):
		s.end = endsAnywhere
	default:
		return errOther
	}
	return nil
}

func isLiteral(part *syntax.Regexp) bool {
	return part.Op == syntax.OpLiteral && part.Flags&syntax.FoldCase == 0
}

func isSlash(part *syntax.Regexp) bool { return isLiteral(part) && string(part.Rune) == "/" }

// isParameter reports whether a part is [^/]+.
func isParameter(part *syntax.Regexp) bool {
	return part.Op == syntax.OpPlus && part.Flags&syntax.NonGreedy == 0 && part.Sub[0].Op == syntax.OpCharClass &&
		slices.Equal(part.Sub[0].Rune, []rune{0, '/' - 1, '/' + 1, 0x10FFFF})
}

// isBelow reports whether a part is /.*.
func isBelow(part *syntax.Regexp) bool {
	return part.Op == syntax.OpConcat && len(part.Sub) == 2 && isSlash(part.Sub[0]) &&
		part.Sub[1].Op == syntax.OpStar && part.Sub[1].Sub[0].Op == syntax.OpAnyCharNotNL
}
