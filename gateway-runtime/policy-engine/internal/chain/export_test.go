package chain

import (
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Charge charges bytes as if they were held.
func Charge(b *Budget, bytes int64) { b.charge(bytes) }

// PathTemplate finds the parameters of an operation in paths.
type PathTemplate = pathTemplate

// NewPathTemplate parses an operation's path.
func NewPathTemplate(context, operation string) PathTemplate {
	return newPathTemplate(context, operation)
}

// SpellPath returns the path in its one spelling.
func SpellPath(strict bool, operation, path string) string {
	return newPathSpelling(strict, operation).normalize(path)
}

// UpstreamPathOf returns the path as the upstream gets it.
func UpstreamPathOf(paths []UpstreamPath, context, path, upstream string) (string, error) {
	patterns, err := newRewritePatterns(paths)
	c := &Chain{spec: Spec{Context: context, UpstreamPaths: paths}, patterns: patterns}
	return c.rewritePath(path, upstream), err
}

// PathParamsOf returns the parameters in a path.
func PathParamsOf(t PathTemplate, path string) v1alpha.PathParams { return t.paramsOf(path) }

// AllocationsWithoutIdentity counts the allocations of the check for a new identity, which each exchange makes twice.
func AllocationsWithoutIdentity() float64 {
	x := &exchange{}
	return testing.AllocsPerRun(100, func() { _ = x.newIdentity() })
}
