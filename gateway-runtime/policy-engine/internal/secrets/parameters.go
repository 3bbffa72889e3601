package secrets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The keys of the object that stands for a secret in parameters, as a controller writes it: {"secretRef": "name"}, which
// becomes {"secretRef": "name", "value": "…"}; and {"secretRef": "", "value": "…"} where the API has the text itself.
const (
	nameKey  = "secretRef"
	valueKey = "value"
)

// leastHidden is how long a secret must be for Hide to look for it: shorter ones stand in any text by chance.
const leastHidden = 4

// Names are the secrets that parameters name, each once, in the order of their places.
func Names(parameters []byte) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	_, err := walk(parameters, func(name string) ([]byte, error) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
		return nil, nil
	})
	return names, err
}

// Fill puts the values, by their names, into parameters.
func Fill(parameters []byte, values map[string]string) ([]byte, error) {
	return walk(parameters, func(name string) ([]byte, error) {
		value, ok := values[name]
		if !ok {
			return nil, fmt.Errorf("secret %s: expected a value, got none", name)
		}
		return json.Marshal(map[string]string{nameKey: name, valueKey: value})
	})
}

// walk calls found for each reference, and puts what it returns in its place.
func walk(parameters []byte, found func(name string) ([]byte, error)) ([]byte, error) {
	if !bytes.Contains(parameters, []byte(`"`+nameKey+`"`)) {
		return parameters, nil
	}
	switch trimmed := bytes.TrimLeft(parameters, " \t\r\n"); trimmed[0] {
	case '{':
		return walkObject(parameters, found)
	case '[':
		return walkList(parameters, found)
	default:
		return parameters, nil
	}
}

func walkObject(parameters []byte, found func(name string) ([]byte, error)) ([]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &object); err != nil {
		return nil, fmt.Errorf("parameters: expected JSON: %w", syntax(err))
	}
	if name, ok := reference(object); ok {
		return found(name)
	}
	changed := false
	for _, key := range sortedKeys(object) {
		inner, err := walk(object[key], found)
		if err != nil {
			return nil, err
		}
		if inner != nil && !bytes.Equal(inner, object[key]) {
			object[key], changed = inner, true
		}
	}
	if !changed {
		return parameters, nil
	}
	return json.Marshal(object)
}

func walkList(parameters []byte, found func(name string) ([]byte, error)) ([]byte, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(parameters, &list); err != nil {
		return nil, fmt.Errorf("parameters: expected JSON: %w", syntax(err))
	}
	changed := false
	for i, item := range list {
		inner, err := walk(item, found)
		if err != nil {
			return nil, err
		}
		if inner != nil && !bytes.Equal(inner, item) {
			list[i], changed = inner, true
		}
	}
	if !changed {
		return parameters, nil
	}
	return json.Marshal(list)
}

// reference is the name in an object that is nothing but a reference.
func reference(object map[string]json.RawMessage) (name string, ok bool) {
	raw, has := object[nameKey]
	if !has || len(object) != 1 || json.Unmarshal(raw, &name) != nil || name == "" {
		return "", false
	}
	return name, true
}

func sortedKeys(object map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Texts are all values that stand in parameters, those that were filled in and those of the API itself.
func Texts(parameters []byte) []string {
	var texts []string
	var visit func(value any)
	visit = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			_, named := value[nameKey].(string)
			if text, ok := value[valueKey].(string); ok && named && len(value) == 2 {
				texts = append(texts, text)
				return
			}
			for _, inner := range value {
				visit(inner)
			}
		case []any:
			for _, inner := range value {
				visit(inner)
			}
		}
	}
	var value any
	if bytes.Contains(parameters, []byte(`"`+nameKey+`"`)) && json.Unmarshal(parameters, &value) == nil {
		visit(value)
	}
	return texts
}

// Hide is a text with a mark in the place of each secret, and of each of its lines: what a policy's author writes into an error is shown to others.
func Hide(text string, secrets []string) string {
	var hidden []string
	for _, secret := range secrets {
		for _, one := range append(strings.Split(secret, "\n"), secret) {
			if one = strings.TrimSuffix(one, "\r"); len(strings.TrimSpace(one)) >= leastHidden {
				hidden = append(hidden, one, quoted.Replace(one), strings.ReplaceAll(quoted.Replace(one), `"`, `\"`))
			}
		}
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) }) // one may stand in another one
	for _, secret := range hidden {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	return text
}

// quoted is how a text stands between quotes, but for these.
var quoted = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// syntax leaves out of an error of JSON what it quotes.
func syntax(err error) error {
	return fmt.Errorf("%T", err)
}
