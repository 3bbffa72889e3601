// Package limit imports what is below it, and what is not.
package limit

import (
	"gatewright.dev/sdk/policy/v1alpha"

	"example.com/policies/limit/internal/count"
	"example.com/policies/limiter"
	names "example.com/policies/shared"
)

var GetPolicy v1alpha.Factory = count.New(names.Of, limiter.New)
