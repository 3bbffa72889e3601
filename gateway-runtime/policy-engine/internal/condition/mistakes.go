package condition

import (
	"fmt"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
)

// Mistake says why a text is not a condition. Line and Column count from 1, Column in characters; both 0: the whole
// text.
type Mistake struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"` // expected, got, the cure
}

func (m *Mistake) Error() string {
	if m.Line == 0 {
		return m.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", m.Line, m.Column, m.Message)
}

// mistakeOf returns the compiler's first error in text, with a message that also describes what was found.
func mistakeOf(text string, issues *cel.Issues) *Mistake {
	first := issues.Errors()[0]
	m := &Mistake{Line: first.Location.Line(), Column: first.Location.Column() + 1}
	if m.Line < 1 {
		m.Line, m.Column = 0, 0
	}
	m.Message = reword(strings.TrimSuffix(first.Message, " (in container '')"), textAt(text, m.Line, m.Column))
	return m
}

// explain rewords a message of the compiler. at: the text from the error's position on.
func reword(message, at string) string {
	if rest, ok := strings.CutPrefix(message, "undeclared reference to '"); ok {
		name, _, _ := strings.Cut(rest, "'")
		switch {
		case strings.HasPrefix(at, "("):
			return fmt.Sprintf("expected a function of CEL's standard library (but timestamp and duration), %s, ip or cidr, got %s", lowerASCII, name)
		case name == "response":
			return "expected a condition on the request, got response: there is none yet at the policy's turn; look at it in the policy"
		}
		if whole := strings.FieldsFunc(at, isSeparator); len(whole) > 0 && strings.HasPrefix(whole[0], name+".") {
			name = whole[0]
		}
		return fmt.Sprintf("expected one of the variables %s, got %s", strings.Join(names, ", "), name)
	}
	switch {
	case strings.HasPrefix(message, "invalid matches argument"), strings.HasPrefix(message, "regex program"):
		return fmt.Sprintf("expected a regular expression in RE2's syntax, of at most %d instructions, got another; CEL says: %s", MaxRegex, message)
	case strings.HasPrefix(message, "found no matching overload for '_==_'") && strings.Contains(message, "(list(string), string)"):
		return `expected values of one type on both sides of ==, got a list of texts and a text; request.query has all values of each name: "1" in request.query["x"]`
	case strings.HasPrefix(message, "found no matching overload for '"):
		rest := strings.TrimPrefix(message, "found no matching overload for '")
		name, types, _ := strings.Cut(rest, "' applied to '")
		return fmt.Sprintf("expected values that %s takes, got %s", strings.Trim(name, "_"), strings.TrimSuffix(types, "'"))
	case strings.HasPrefix(message, "expected "):
		return message
	}
	return "expected a condition in CEL, got one of which CEL says: " + message + otherLanguages(message)
}

// otherLanguages returns the cure for an operator of other languages that CEL does not have, "" for other mistakes.
func otherLanguages(message string) string {
	for theirs, ours := range map[string]string{
		"token recognition error at: '= '": "==", "token recognition error at: '='": "==", "token recognition error at: '& '": "&&",
		"token recognition error at: '| '": "||", "mismatched input 'and' ": "&&", "mismatched input 'or' ": "||", "mismatched input 'not' ": "!",
		"extraneous input 'and' ": "&&", "extraneous input 'or' ": "||",
	} {
		if strings.HasPrefix(strings.TrimPrefix(message, "Syntax error: "), theirs) {
			return "; write " + ours
		}
	}
	return ""
}

func isSeparator(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.'
}

// textAt is the rest of the line from the column on, "" if there is no such position.
func textAt(text string, line, column int) string {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	if characters := []rune(lines[line-1]); column >= 1 && column <= len(characters) {
		return string(characters[column-1:])
	}
	return ""
}
