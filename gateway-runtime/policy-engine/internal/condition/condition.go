// Package condition decides which requests a policy applies to: expressions in CEL, compiled once and bounded in cost.
// docs/reference/conditions.md is its contract.
package condition

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The bounds of a condition.
const (
	MaxBytes   = 2048    // of its text
	MaxCost    = 100_000 // in CEL's units, of one evaluation: tens of milliseconds at most
	MaxRegex   = 500     // instructions of a regular expression's program
	MaxNesting = 2       // nested all, exists, exists_one, filter and map
)

// Condition is a compiled expression. Many goroutines may evaluate it at once.
type Condition struct {
	text    string
	program cel.Program
}

// Compile compiles text. Its error is a *Mistake, the first one.
func Compile(text string) (*Condition, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &Mistake{Message: `expected a condition in CEL, such as request.method == "GET", got none`}
	}
	if len(text) > MaxBytes {
		return nil, &Mistake{Message: fmt.Sprintf("expected a condition of at most %d bytes, got %d", MaxBytes, len(text))}
	}
	if !utf8.ValidString(text) {
		return nil, &Mistake{Message: "expected a condition in UTF-8, got other bytes"}
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("the environment of conditions: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, mistakeOf(text, issues)
	}
	if got := ast.OutputType(); !got.IsExactType(types.BoolType) {
		return nil, &Mistake{Message: fmt.Sprintf("expected a condition that is true or false, got a value of type %s%s", got, cureOf(got))}
	}
	costs := sizesOf(ast.NativeRep())
	if err := checkCost(env, ast, costs); err != nil {
		return nil, err
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost), cel.CostTracking(costs))
	if err != nil {
		return nil, &Mistake{Message: fmt.Sprintf("expected a condition that can be evaluated, got one of which CEL says: %v", err)}
	}
	return &Condition{text: text, program: program}, nil
}

func cureOf(got *cel.Type) string {
	if got.IsExactType(types.DynType) {
		return "; compare it, as in metadata[\"x\"] == true"
	}
	return "; compare it with something"
}

// Text is the expression as written.
func (c *Condition) Text() string { return c.text }

// Applies evaluates the condition for a request. An error says why it failed: a value is missing, or has another type
// than the condition expects, or the evaluation costs more than MaxCost.
func (c *Condition) Applies(request *v1alpha.RequestContext) (bool, error) {
	result, _, err := c.program.Eval(newActivation(request))
	if err != nil {
		return false, err
	}
	applies, ok := result.Value().(bool)
	if !ok {
		return false, errors.New("the result is neither true nor false")
	}
	return applies, nil
}
