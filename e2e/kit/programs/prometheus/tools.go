//go:build tools

// Package prometheus names the programs that test_prometheus.py builds, so that their versions are held.
package prometheus

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
