package pythonbridge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/policymetrics"
	"gatewright.dev/sdk/policy/v1alpha"
)

// A process is asked for its policies' metrics every metricsInterval; less often if it answers slowly, since it
// executes little meanwhile: at most a twentieth of its time.
const (
	metricsInterval    = time.Second
	metricsPart        = 20
	maxMetricsInterval = 30 * time.Second
)

// pauseAfter is the pause after an answer that took that long.
func pauseAfter(duration time.Duration) time.Duration {
	return min(max(metricsInterval, metricsPart*duration), maxMetricsInterval)
}

// PolicyMetrics are the metrics that Python policies define themselves, summed over all processes, including ended
// ones. They are up to a second old, or more if a process has many.
func (g *Groups) PolicyMetrics() []policymetrics.Metric { return g.options.metrics.All() }

// collectMetrics collects the metrics of a process that has policies until the session ends.
func (s *session) collectMetrics(ctx context.Context) {
	if len(s.process.policies()) == 0 {
		return
	}
	for {
		began := time.Now()
		if err := s.process.collectMetrics(ctx, s); status.Code(err) == codes.Unimplemented {
			return
		}
		if !backoff.Sleep(ctx, pauseAfter(time.Since(began))) {
			return
		}
	}
}

// collectLastMetrics collects the metrics of a process before it ends.
func (m *StreamManager) collectLastMetrics(ctx context.Context) {
	if s := m.sender.session.Load(); s != nil && len(m.policies()) > 0 {
		_ = m.collectMetrics(ctx, s) // without an answer the last collected values stay
	}
}

// collectMetrics collects the changes since the last answer in this session.
func (m *StreamManager) collectMetrics(ctx context.Context, s *session) error {
	s.collecting.Lock() // so that an answer does not overtake a later one
	defer s.collecting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, m.options.HealthInterval)
	defer cancel()
	answer, err := s.client.CollectMetrics(ctx, &executorv1.CollectMetricsRequest{Version: s.collected})
	if err != nil {
		return err
	}
	var changed []policymetrics.Metric
	for _, reported := range answer.GetMetrics() {
		if !m.hasPolicy(reported.GetPolicy()) {
			continue
		}
		metric := metricFrom(reported)
		if err := metric.Check(); err != nil {
			s.logRefusedMetric(ctx, metric, err.Error())
			continue
		}
		changed = append(changed, metric)
	}
	for _, metric := range m.metrics.Report(answer.GetProcess(), changed) {
		s.logRefusedMetric(ctx, metric, "the process reports more metrics of this policy than there is room for")
	}
	s.collected = answer.GetVersion()
	return nil
}

// logRefusedMetric logs the first refused metric of a session as a warning, later ones for debugging: a policy repeats
// its mistake every second.
func (s *session) logRefusedMetric(ctx context.Context, metric policymetrics.Metric, reason string) {
	level := slog.LevelWarn
	if s.refusedMetric {
		level = slog.LevelDebug
	}
	s.refusedMetric = true
	s.process.log.Log(ctx, level, "a metric of a policy was refused", "policy", metric.Policy, "metric",
		fmt.Sprintf("%.100s", metric.Name), "reason", reason)
}

func (m *StreamManager) hasPolicy(policy string) bool {
	return slices.ContainsFunc(m.policies(), func(p *executorv1.LoadedPolicy) bool { return p.GetName()+":"+p.GetVersion() == policy })
}

func metricFrom(reported *executorv1.PolicyMetric) policymetrics.Metric {
	metric := policymetrics.Metric{Policy: reported.GetPolicy(), MetricSnapshot: v1alpha.MetricSnapshot{
		Name: reported.GetName(), Help: reported.GetHelp(), Kind: kindFrom(reported.GetKind()), Labels: reported.GetLabelNames(), Bounds: reported.GetBounds(),
		Refused: reported.GetRefused(),
	}}
	for _, sample := range reported.GetSamples() {
		metric.Samples = append(metric.Samples, v1alpha.MetricSample{
			Labels: sample.GetLabelValues(), Value: sample.GetValue(), Buckets: sample.GetBuckets(),
		})
	}
	return metric
}

func kindFrom(kind executorv1.PolicyMetric_Kind) v1alpha.MetricKind {
	switch kind {
	case executorv1.PolicyMetric_KIND_COUNTER:
		return v1alpha.KindCounter
	case executorv1.PolicyMetric_KIND_GAUGE:
		return v1alpha.KindGauge
	case executorv1.PolicyMetric_KIND_HISTOGRAM:
		return v1alpha.KindHistogram
	default:
		return ""
	}
}

// forgetPolicies drops the metrics of ended processes for policies that no process has any more.
func (g *Groups) forgetPolicies() {
	g.options.metrics.Keep(func(policy string) bool {
		return slices.ContainsFunc(g.names(), func(name string) bool {
			return slices.ContainsFunc(g.group(name).allProcesses(), func(m *StreamManager) bool { return m.hasPolicy(policy) })
		})
	})
}
