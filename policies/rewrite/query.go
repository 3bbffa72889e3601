package rewrite

import (
	"fmt"
	"strings"

	"gatewright.dev/sdk/policy/template"
	"gatewright.dev/sdk/policy/v1alpha"
)

type querySpec struct {
	Set []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"set"`
	Remove []string `json:"remove"`
}

// queryEdits are changes of a query. Parameters that they do not name stay byte for byte.
type queryEdits struct {
	removed map[string]bool // names, decoded
	set     []parameter
}

type parameter struct {
	name  string // encoded
	value *template.Template
}

func (w *querySpec) parse(operation string) (*queryEdits, error) {
	edits := &queryEdits{removed: map[string]bool{}}
	for _, name := range w.Remove {
		edits.removed[name] = true
	}
	for n, p := range w.Set {
		value, err := template.Parse(p.Value, operation)
		if err != nil {
			return nil, fmt.Errorf("set[%d].value: %w", n, err)
		}
		edits.removed[p.Name] = true
		edits.set = append(edits.set, parameter{template.URIComponent(p.Name), value})
	}
	return edits, nil
}

// of returns the query with the edits. A parameter with an empty value is left out.
func (e *queryEdits) of(req *v1alpha.RequestContext) string {
	var result strings.Builder
	add := func(pair string) {
		if result.Len() > 0 {
			result.WriteByte('&')
		}
		result.WriteString(pair)
	}
	for pair := range strings.SplitSeq(req.Query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !e.removed[template.DecodedForm(name)] {
			add(pair)
		}
	}
	for _, p := range e.set {
		if value, _ := p.value.Of(req, identity); value != "" {
			add(p.name + "=" + template.URIComponent(value))
		}
	}
	return result.String()
}

func identity(value string) string { return value }
