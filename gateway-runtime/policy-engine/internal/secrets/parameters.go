package secrets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The keys of the object that replaces a secret in parameters. A controller writes {"secretRef": "name"}, which
// becomes {"secretRef": "name", "value": "…"}; or {"secretRef": "", "value": "…"} if the API contains the text itself.
const (
	nameKey  = "secretRef"
	valueKey = "value"
)

// leastHidden is the shortest secret that Hide searches for: shorter ones occur in any text by chance.
const leastHidden = 4

// Names returns the secrets that parameters name, each once, in the order of their places.
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

// Fill inserts the values, given by name, into parameters.
func Fill(parameters []byte, values map[string]string) ([]byte, error) {
	return walk(parameters, func(name string) ([]byte, error) {
		value, ok := values[name]
		if !ok {
			return nil, fmt.Errorf("secret %s: expected a value, got none", name)
		}
		return json.Marshal(map[string]string{nameKey: name, valueKey: value})
	})
}

// walk replaces each reference by the result of resolve.
func walk(parameters []byte, resolve func(name string) ([]byte, error)) ([]byte, error) {
	if !bytes.Contains(parameters, []byte(`"`+nameKey+`"`)) {
		return parameters, nil
	}
	switch trimmed := bytes.TrimLeft(parameters, " \t\r\n"); trimmed[0] {
	case '{':
		return walkObject(parameters, resolve)
	case '[':
		return walkList(parameters, resolve)
	default:
		return parameters, nil
	}
}

func walkObject(parameters []byte, resolve func(name string) ([]byte, error)) ([]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &object); err != nil {
		return nil, fmt.Errorf("parameters: expected JSON: %w", syntax(err))
	}
	if name, ok := reference(object); ok {
		return resolve(name)
	}
	changed := false
	for _, key := range sortedKeys(object) {
		inner, err := walk(object[key], resolve)
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

func walkList(parameters []byte, resolve func(name string) ([]byte, error)) ([]byte, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(parameters, &list); err != nil {
		return nil, fmt.Errorf("parameters: expected JSON: %w", syntax(err))
	}
	changed := false
	for i, item := range list {
		inner, err := walk(item, resolve)
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

// reference returns the name in an object that is only a reference.
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

// Texts returns all secret values in parameters, those of named secrets and those of the API itself.
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

// Hide replaces each secret in a text, and each of its lines, by a mark: the author of a policy may have put one into an error,
// and others read it.
func Hide(text string, secrets []string) string {
	var hidden []string
	for _, secret := range secrets {
		for _, line := range append(strings.Split(secret, "\n"), secret) {
			if line = strings.TrimSuffix(line, "\r"); len(strings.TrimSpace(line)) >= leastHidden {
				hidden = append(hidden, line, quoted.Replace(line), strings.ReplaceAll(quoted.Replace(line), `"`, `\"`))
			}
		}
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) }) // the longest first: a secret may contain another one
	for _, secret := range hidden {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	return text
}

// quoted escapes a text as within quotes, except for the quotes.
var quoted = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// syntax returns an error of JSON without the text that it quotes.
func syntax(err error) error {
	return fmt.Errorf("%T", err)
}
