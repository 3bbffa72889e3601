package xds_test

import (
	"fmt"
	"testing"

	"gatewright.dev/policy-engine/internal/xds"
)

// One more API among 10,000: what it costs to compose them all anew.
func BenchmarkCompose10000(b *testing.B) {
	bundles := make([]*xds.Bundle, 0, 10_000)
	for i := range 10_000 {
		bundles = append(bundles, answering(b, fmt.Sprintf("api%d", i), fmt.Sprintf("/team%d/api%d", i%97, i)))
	}
	for b.Loop() {
		config := compose(b, bundles...)
		b.ReportMetric(float64(len(config.Body.GetValue())), "bytes")
	}
}
