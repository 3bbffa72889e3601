package condition

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
)

// literalPatterns refuses regular expressions that are not literals: otherwise a request would decide what is compiled.
type literalPatterns struct{}

func (literalPatterns) Name() string { return "gatewright.literal_patterns" }

func (literalPatterns) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(a), ast.FunctionMatcher(overloads.Matches)) {
		arguments := call.AsCall().Args()
		if pattern := arguments[len(arguments)-1]; pattern.Kind() != ast.LiteralKind {
			issues.ReportErrorAtID(pattern.ID(), "expected a regular expression written out as a literal, got one that is computed")
		}
	}
}

// wholeMaps refuses the use of one of the maps as a whole: they have keys, and are no ordinary values of CEL.
type wholeMaps struct{}

func (wholeMaps) Name() string { return "gatewright.whole_maps" }

func (wholeMaps) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	for _, ident := range ast.MatchDescendants(ast.NavigateAST(a), ast.KindMatcher(ast.IdentKind)) {
		name := ident.AsIdent()
		if name != headers && name != query && name != pathParams && name != metadata {
			continue
		}
		if parent, ok := ident.Parent(); !ok || !takesKeys(parent, ident.ID()) {
			issues.ReportErrorAtID(ident.ID(), "expected a key of %s, in, size or a macro such as exists, got all of it", name)
		}
	}
}

// takesKeys reports whether parent reads keys of the map with this id: by an index or a field, in, size, or a macro.
func takesKeys(parent ast.NavigableExpr, id int64) bool {
	switch parent.Kind() {
	case ast.SelectKind:
		return true
	case ast.ComprehensionKind:
		return parent.AsComprehension().IterRange().ID() == id
	case ast.CallKind:
		call := parent.AsCall()
		switch call.FunctionName() {
		case operators.Index:
			return call.Args()[0].ID() == id
		case operators.In:
			return call.Args()[1].ID() == id
		case overloads.Size:
			return true
		}
	}
	return false
}
