package condition

import (
	"fmt"
	"regexp/syntax"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// checkCost refuses conditions that cost too much for a large but likely request. The evaluation for a still larger
// request is limited by MaxCost.
func checkCost(env *cel.Env, compiled *cel.Ast, costs sizes) error {
	estimate, err := env.EstimateCost(compiled, costs)
	if err != nil {
		return &Mistake{Message: fmt.Sprintf("expected a condition whose cost can be estimated, got one of which CEL says: %v", err)}
	}
	if estimate.Max > MaxCost {
		got := fmt.Sprint(estimate.Max)
		if estimate.Max > 1e12 {
			got = "far more"
		}
		return &Mistake{Message: fmt.Sprintf("expected a condition that costs at most %d (CEL's units) for a request with %d headers, got %s; look at fewer values, or once",
			MaxCost, likelyLines, got)}
	}
	return nil
}

// The sizes of a large but likely request.
const (
	likelyLines = 100  // headers, query parameters, keys of metadata, names of a certificate
	likelyName  = 64   // bytes of their names
	likelyValue = 1024 // bytes of a value, of the path and the host
)

// steps is the number of a regular expression's steps on a character that cost one unit.
const steps = 20

// sizes estimates the sizes of the variables, and has the sizes of the regular expressions' programs, by their texts.
type sizes struct{ programs map[string]int }

// sizesOf compiles the regular expressions of the condition.
func sizesOf(a *ast.AST) sizes {
	result := sizes{programs: map[string]int{}}
	for _, call := range ast.MatchDescendants(ast.NavigateAST(a), ast.FunctionMatcher(overloads.Matches)) {
		arguments := call.AsCall().Args()
		pattern, _ := arguments[len(arguments)-1].AsLiteral().Value().(string) // literalPatterns has refused others
		if parsed, err := syntax.Parse(pattern, syntax.Perl); err == nil {
			if program, err := syntax.Compile(parsed.Simplify()); err == nil {
				result.programs[pattern] = len(program.Inst)
			}
		}
	}
	return result
}

// matchCost is the cost of a regular expression per character of the text: each may take all steps of its program, which
// can be large for a short expression, such as "([ab]{1,50}){1,2}".
func (s sizes) matchCost(pattern any) float64 {
	text, _ := pattern.(string)
	return float64(s.programs[text]) / steps
}

// EstimateCallCost estimates functions that read a whole text, by its length: matches, lowerAscii, and size, for which
// CEL assumes one unit. Other functions keep CEL's estimate.
func (s sizes) EstimateCallCost(function, _ string, target *cost.AstNode, arguments []cost.AstNode) *cost.CallEstimate {
	if target != nil {
		arguments = append([]cost.AstNode{*target}, arguments...)
	}
	if function == overloads.Matches && len(arguments) == 2 {
		return cost.NewCallEstimate(cost.EstimateSize(s, arguments[0]).MultiplyByCostFactor(s.matchCost(arguments[1].Expr().AsLiteral().Value())), nil)
	}
	if function != lowerASCII && function != overloads.Size || len(arguments) != 1 || arguments[0].Type().Kind() != types.StringKind {
		return nil
	}
	size := cost.EstimateSize(s, arguments[0])
	estimate := cost.NewCallEstimate(size.MultiplyByCostFactor(cost.StringCostFactor), nil)
	if function == lowerASCII {
		estimate.ResultSize = &size
	}
	return estimate
}

// CallCost is EstimateCallCost for an actual call.
func (s sizes) CallCost(function, _ string, arguments []ref.Val, _ ref.Val) *uint64 {
	if function == overloads.Matches && len(arguments) == 2 {
		text, _ := arguments[0].(types.String)
		spent := uint64(float64(len(text))*s.matchCost(arguments[1].Value())) + 1
		return &spent
	}
	if function != lowerASCII && function != overloads.Size || len(arguments) != 1 {
		return nil
	}
	text, ok := arguments[0].(types.String)
	if !ok {
		return nil
	}
	spent := uint64(float64(len(text))*cost.StringCostFactor) + 1
	return &spent
}

func (sizes) EstimateSize(element cost.AstNode) *cost.SizeEstimate {
	path := element.Path()
	if len(path) == 0 {
		return nil
	}
	size := cost.RangedSizeEstimate(0, likelyValue)
	switch last := path[len(path)-1]; {
	case last == "@keys":
		size.Max = likelyName
	case last == query || last == headers || last == pathParams || last == metadata || element.Type().Kind() == types.ListKind:
		size.Max = likelyLines
	}
	return &size
}
