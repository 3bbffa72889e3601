package xds_test

import (
	"fmt"
	"testing"

	"gatewright.dev/policy-engine/internal/xds"
)

// The cost of one more API among 10,000: composing all of them again.
func BenchmarkCompose10000(b *testing.B) {
	bundles := make([]*xds.Bundle, 0, 10_000)
	for i := range 10_000 {
		bundles = append(bundles, answering(b, fmt.Sprintf("api%d", i), fmt.Sprintf("/team%d/api%d", i%97, i)))
	}
	for b.Loop() {
		config := compose(b, bundles...)
		b.ReportMetric(float64(len(config.Text())), "bytes")
	}
}

// One more API among 10,000, each on a host of its own, beside ten that every host has.
func BenchmarkCompose10000Hosts(b *testing.B) {
	bundles := make([]*xds.Bundle, 0, 10_010)
	for i := range 10 {
		bundles = append(bundles, answering(b, fmt.Sprintf("every%d", i), fmt.Sprintf("/every%d", i)))
	}
	for i := range 10_000 {
		bundles = append(bundles, answering(b, fmt.Sprintf("api%d", i), "/", fmt.Sprintf("shop%d.example", i)))
	}
	for b.Loop() {
		config := compose(b, bundles...)
		b.ReportMetric(float64(len(config.Text())), "bytes")
	}
}
