package chain

import (
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Charge charges bytes that others hold.
func Charge(b *Budget, bytes int64) { b.charge(bytes) }

// PathTemplate finds the parameters of an operation in paths.
type PathTemplate = pathTemplate

// NewPathTemplate is that of an operation.
func NewPathTemplate(context, operation string) PathTemplate {
	return newPathTemplate(context, operation)
}

// SpellPath is the path in its one spelling.
func SpellPath(strict bool, operation, path string) string {
	return newPathSpelling(strict, operation).of(path)
}

// UpstreamPathOf is what becomes of a path upstream.
func UpstreamPathOf(paths []UpstreamPath, context, path, upstream string) (string, error) {
	found, err := newUpstreamPaths(paths, context)
	return found.of(path, upstream), err
}

// PathParamsOf are the parameters in a path.
func PathParamsOf(t PathTemplate, path string) v1alpha.PathParams { return t.in(path) }

// AllocationsWithoutIdentity are those of a look for an identity that there is not, as each exchange has two.
func AllocationsWithoutIdentity() float64 {
	x := &exchange{}
	return testing.AllocsPerRun(100, func() { _ = x.newIdentity() })
}
