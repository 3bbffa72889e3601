package v1alpha

import "errors"

// Condition is a compiled expression in CEL: the `when` of an attachment, with the same variables, functions and
// limits (docs/reference/conditions.md). It may be evaluated by many goroutines at once.
type Condition interface {
	// Applies evaluates it for a request in its present state. An error means that the result is unknown.
	Applies(*RequestContext) (bool, error)
}

// Conditions compiles expressions in CEL, each text once.
type Conditions interface {
	// Compile's error says what was expected, what was found, and where.
	Compile(text string) (Condition, error)
}

// Compile compiles a condition, as an engine does. A policy whose parameter is a condition declares `format: cel` in its
// definition's schema: then an API with a mistake in it is refused when it is published.
func (m Metadata) Compile(text string) (Condition, error) {
	if m.Conditions == nil {
		return nil, errors.New("expected an engine, which compiles conditions, got none: Metadata.Conditions is nil")
	}
	return m.Conditions.Compile(text)
}
