// Package property checks properties on inputs that rapid draws, the same ones in each run of the tests.
package property

import (
	"flag"
	"testing"

	"pgregory.net/rapid"
)

// Rapid draws a seed of its own unless -rapid.seed or RAPID_SEED gives one, as `make fuzz` does.
const fixedSeed = "1"

func init() {
	if seed := flag.Lookup("rapid.seed"); seed.Value.String() == "0" {
		if err := seed.Value.Set(fixedSeed); err != nil {
			panic(err)
		}
	}
}

// Check fails the test if rapid finds an input for which property does not hold. It is rapid.Check, which the linter
// forbids: without the fixed seed, a test could fail today that passed yesterday.
func Check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	rapid.Check(t, property) //nolint:forbidigo // here it is
}
