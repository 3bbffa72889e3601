package v1alpha

import "errors"

// Condition is an expression in CEL, compiled: what `when` of an attachment is, with the same variables, functions and
// limits (docs/reference/conditions.md). It may be evaluated by many goroutines at once.
type Condition interface {
	// Applies evaluates it for a request, as it stands. An error says why it cannot be said whether it is true.
	Applies(*RequestContext) (bool, error)
}

// Conditions compiles expressions in CEL, each text once.
type Conditions interface {
	// Compile's error says what was expected, what there is instead, and where.
	Compile(text string) (Condition, error)
}

// Compile makes a condition of text, as an engine does. A policy whose parameter is one says so by `format: cel` in its
// definition's schema: then an API with a mistake in it is refused when it is published.
func (m Metadata) Compile(text string) (Condition, error) {
	if m.Conditions == nil {
		return nil, errors.New("expected an engine, which compiles conditions, got none: Metadata.Conditions is nil")
	}
	return m.Conditions.Compile(text)
}
