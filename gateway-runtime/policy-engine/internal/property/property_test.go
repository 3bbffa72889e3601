package property_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
)

func TestTheSameInputsAreDrawnAgain(t *testing.T) {
	var runs [2][]uint64
	for run := range runs {
		property.Check(t, func(t *rapid.T) { runs[run] = append(runs[run], rapid.Uint64().Draw(t, "value")) })
	}
	if len(runs[0]) < 100 || !slices.Equal(runs[0], runs[1]) {
		t.Errorf("expected the same inputs, a hundred at least, got %d and %d", len(runs[0]), len(runs[1]))
	}
}
