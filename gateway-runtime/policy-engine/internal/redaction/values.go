package redaction

import (
	"net/url"
	"slices"
	"strings"
	"sync"
)

// leastValue is how long a secret must be for Values to look for it: shorter ones stand in what clients send by chance.
const leastValue = 8

// Values are the secrets that instances of policies hold. They are taken out wherever they stand: an API chooses in which
// header a client says one, so that no list of names knows it. It may be used from any goroutine.
type Values struct {
	mutex    sync.Mutex
	uses     map[string]int
	replacer *strings.Replacer // of these; nil: to be made
}

// Add counts an instance that holds these.
func (v *Values) Add(secrets []string) { v.count(secrets, 1) }

// Remove takes one Add of these back.
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

// Text is a text without the secrets, and how many were taken out of it. Of a secret with several lines each line counts.
// They are found as they are, and as JSON and URLs write them.
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

// Shown is a value of JSON as Text has texts.
func (v *Values) Shown(value any) (any, int) {
	total := 0
	switch value := value.(type) {
	case string:
		return v.Text(value)
	case map[string]any:
		shown := make(map[string]any, len(value))
		for name, inner := range value {
			made, count := v.Shown(inner)
			shown[name], total = made, total+count
		}
		return shown, total
	case []any:
		shown := make([]any, len(value))
		for i, inner := range value {
			made, count := v.Shown(inner)
			shown[i], total = made, total+count
		}
		return shown, total
	}
	return value, 0
}

// current is the replacer of the secrets as they are now; nil: there is none, or v is nil.
func (v *Values) current() *strings.Replacer {
	if v == nil {
		return nil
	}
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.replacer == nil && len(v.uses) > 0 {
		v.replacer = replacerOf(v.uses)
	}
	return v.replacer
}

func replacerOf(secrets map[string]int) *strings.Replacer {
	var found []string
	for secret := range secrets {
		for _, line := range append(strings.Split(secret, "\n"), secret) {
			if line = strings.TrimSpace(line); len(line) >= leastValue {
				found = append(found, line, inJSON.Replace(line), url.QueryEscape(line), url.PathEscape(line))
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) }) // one may begin with another one
	pairs := make([]string, 0, 2*len(found))
	for _, text := range slices.Compact(found) {
		pairs = append(pairs, text, Mark)
	}
	return strings.NewReplacer(pairs...)
}

// inJSON is how a text stands in JSON.
var inJSON = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
