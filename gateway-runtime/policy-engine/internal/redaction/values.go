package redaction

import (
	"net/url"
	"slices"
	"strings"
	"sync"
)

// leastValue is the shortest secret that Values searches for: shorter ones occur in clients' messages by chance.
const leastValue = 8

// Values are the secrets that instances of policies use. They are removed wherever they occur: an API chooses the
// header that carries one, so no list of names covers it. It may be used from any goroutine.
type Values struct {
	mutex    sync.Mutex
	uses     map[string]int
	replacer *strings.Replacer // of these secrets; nil: to be made
}

// Add registers an instance's secrets.
func (v *Values) Add(secrets []string) { v.count(secrets, 1) }

// Remove undoes one Add of the same secrets.
func (v *Values) Remove(secrets []string) { v.count(secrets, -1) }

func (v *Values) count(secrets []string, by int) {
	if len(secrets) == 0 {
		return
	}
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.uses == nil {
		v.uses = map[string]int{}
	}
	for _, secret := range secrets {
		if v.uses[secret] += by; v.uses[secret] == 0 {
			delete(v.uses, secret)
		}
	}
	v.replacer = nil
}

// Text returns a text without the secrets, and the number of secrets removed. Each line of a secret with several lines counts.
// Secrets are found as they are, and in their JSON and URL encodings.
func (v *Values) Text(text string) (string, int) {
	if len(text) < leastValue {
		return text, 0
	}
	replacer := v.current()
	if replacer == nil {
		return text, 0
	}
	shown := replacer.Replace(text)
	if shown == text {
		return text, 0
	}
	return shown, max(1, strings.Count(shown, Mark)-strings.Count(text, Mark))
}

// Shown redacts the strings of a JSON value as Text does.
func (v *Values) Shown(value any) (any, int) {
	total := 0
	switch value := value.(type) {
	case string:
		return v.Text(value)
	case map[string]any:
		shown := make(map[string]any, len(value))
		for name, inner := range value {
			redacted, count := v.Shown(inner)
			shown[name], total = redacted, total+count
		}
		return shown, total
	case []any:
		shown := make([]any, len(value))
		for i, inner := range value {
			redacted, count := v.Shown(inner)
			shown[i], total = redacted, total+count
		}
		return shown, total
	}
	return value, 0
}

// current returns the replacer of the present secrets; nil: there are none, or v is nil.
func (v *Values) current() *strings.Replacer {
	if v == nil {
		return nil
	}
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.replacer == nil && len(v.uses) > 0 {
		v.replacer = newReplacer(v.uses)
	}
	return v.replacer
}

func newReplacer(secrets map[string]int) *strings.Replacer {
	var patterns []string
	for secret := range secrets {
		for _, line := range append(strings.Split(secret, "\n"), secret) {
			if line = strings.TrimSpace(line); len(line) >= leastValue {
				patterns = append(patterns, line, inJSON.Replace(line), url.QueryEscape(line), url.PathEscape(line))
			}
		}
	}
	slices.SortFunc(patterns, func(a, b string) int { return len(b) - len(a) }) // the longest first: a secret may be the prefix of another one
	pairs := make([]string, 0, 2*len(patterns))
	for _, text := range slices.Compact(patterns) {
		pairs = append(pairs, text, Mark)
	}
	return strings.NewReplacer(pairs...)
}

// inJSON escapes a text as JSON does.
var inJSON = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
