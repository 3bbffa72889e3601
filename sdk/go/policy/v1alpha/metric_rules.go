package v1alpha

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The same rules hold in Python: gatewright.metric_rules.

var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// reservedLabels are labels that a policy cannot use, and why.
var reservedLabels = map[string]string{
	"policy": "the gateway says it itself", "le": "it is a bucket's bound", "quantile": "it is a summary's",
}

func checkMetricName(kind MetricKind, name string) error {
	if !metricName.MatchString(name) || len(name) > maxMetricName {
		return fmt.Errorf("expected a name of small letters, digits and _, %d characters at most", maxMetricName)
	}
	reserved := []string{"_bucket", "_count", "_sum", "_created", "_info"}
	if kind != KindCounter {
		reserved = append(reserved, "_total")
	} else if !strings.HasSuffix(name, "_total") {
		return fmt.Errorf("expected the name of a counter to end with _total; call it %s_total", name)
	}
	for _, end := range reserved {
		if strings.HasSuffix(name, end) {
			return fmt.Errorf("expected a name of a %s that does not end with %s, which means another", kind, end)
		}
	}
	return nil
}

func checkHelp(help string) error {
	if strings.TrimSpace(help) == "" {
		return errors.New("expected a sentence that says what it is, got none")
	}
	if len(help) > maxHelp || !utf8.ValidString(help) {
		return fmt.Errorf("expected help of at most %d bytes in UTF-8, got %d: %.80q", maxHelp, len(help), help)
	}
	return nil
}

func checkLabels(labels []string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("labels: expected at most %d, got %d", maxLabels, len(labels))
	}
	for i, label := range labels {
		if !metricName.MatchString(label) || len(label) > maxMetricName {
			return fmt.Errorf("labels: expected a name of small letters, digits and _, which begins with a letter, got %.200q", label)
		}
		if why := reservedLabels[label]; why != "" {
			return fmt.Errorf("labels: expected another name than %s: %s", label, why)
		}
		if slices.Contains(labels[:i], label) {
			return fmt.Errorf("labels: expected each once, got %s twice", label)
		}
	}
	return nil
}

func checkBuckets(bounds []float64) error {
	if len(bounds) == 0 || len(bounds) > maxBuckets {
		return fmt.Errorf("expected 1 to %d upper bounds, got %d", maxBuckets, len(bounds))
	}
	for i, bound := range bounds {
		if math.IsNaN(bound) || math.IsInf(bound, 0) || (i > 0 && bound <= bounds[i-1]) {
			return fmt.Errorf("expected upper bounds that are finite, each larger than the one before, got %v", bounds)
		}
	}
	return nil
}

// mostLabelSets is the largest number of label sets that a Python policy may request.
const mostLabelSets = 10_000

// Check returns an error if a snapshot is invalid or inconsistent: for code that receives snapshots of other processes.
func (s MetricSnapshot) Check() error {
	err := errors.Join(checkMetricName(s.Kind, s.Name), checkHelp(s.Help), checkLabels(s.Labels))
	buckets := 0
	switch s.Kind {
	case KindCounter, KindGauge:
		if len(s.Bounds) > 0 {
			err = errors.Join(err, fmt.Errorf("expected no buckets of a %s", s.Kind))
		}
	case KindHistogram:
		err = errors.Join(err, checkBuckets(s.Bounds))
		buckets = len(s.Bounds) + 1
	default:
		err = errors.Join(err, fmt.Errorf("expected a counter, gauge or histogram, got %q", s.Kind))
	}
	if len(s.Samples) > mostLabelSets {
		return errors.Join(err, fmt.Errorf("expected at most %d sets of label values, got %d", mostLabelSets, len(s.Samples)))
	}
	for _, sample := range s.Samples {
		if len(sample.Labels) != len(s.Labels) || len(sample.Buckets) != buckets {
			return errors.Join(err, fmt.Errorf("expected %d label values and %d buckets, got %d and %d",
				len(s.Labels), buckets, len(sample.Labels), len(sample.Buckets)))
		}
		for _, value := range sample.Labels {
			if !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxLabelValue {
				return errors.Join(err, fmt.Errorf("expected label values of at most %d characters in UTF-8, got %.80q", maxLabelValue, value))
			}
		}
	}
	return err
}
