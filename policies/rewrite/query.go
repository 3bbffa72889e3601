package rewrite

import (
	"fmt"
	"strings"

	"gatewright.dev/sdk/policy/template"
	"gatewright.dev/sdk/policy/v1alpha"
)

type writtenQuery struct {
	Set []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"set"`
	Remove []string `json:"remove"`
}

// queryEdits leave all that they do not name as it came, byte for byte.
type queryEdits struct {
	gone map[string]bool // names, decoded
	set  []parameter
}

type parameter struct {
	name  string // encoded
	value *template.Template
}

func (w *writtenQuery) parse(operation string) (*queryEdits, error) {
	edits := &queryEdits{gone: map[string]bool{}}
	for _, name := range w.Remove {
		edits.gone[name] = true
	}
	for n, one := range w.Set {
		value, err := template.Parse(one.Value, operation)
		if err != nil {
			return nil, fmt.Errorf("set[%d].value: %w", n, err)
		}
		edits.gone[one.Name] = true
		edits.set = append(edits.set, parameter{template.URIComponent(one.Name), value})
	}
	return edits, nil
}

// of is the query with the edits. A parameter whose value comes out empty is not there.
func (e *queryEdits) of(req *v1alpha.RequestContext) string {
	var made strings.Builder
	add := func(pair string) {
		if made.Len() > 0 {
			made.WriteByte('&')
		}
		made.WriteString(pair)
	}
	for pair := range strings.SplitSeq(req.Query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !e.gone[template.DecodedForm(name)] {
			add(pair)
		}
	}
	for _, one := range e.set {
		if value, _ := one.value.Of(req, identity); value != "" {
			add(one.name + "=" + template.URIComponent(value))
		}
	}
	return made.String()
}

func identity(value string) string { return value }
