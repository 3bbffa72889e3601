package count

import "example.com/policies/shared"

var New = shared.New
