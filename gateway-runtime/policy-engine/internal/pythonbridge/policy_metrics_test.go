package pythonbridge

import (
	"slices"
	"strings"
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
)

// counting makes an executor report metrics of the policy p:v1.0.0, which the test sets.
type counting struct {
	*scriptedExecutor
	process uint64
	version uint64
	metrics []*executorv1.PolicyMetric
	asked   []uint64 // versions
}

func startCounting(t *testing.T, process uint64) *counting {
	c := &counting{scriptedExecutor: newExecutor(t), process: process}
	c.collect = c.answer
	c.start(t)
	return c
}

func (c *counting) answer(request *executorv1.CollectMetricsRequest) *executorv1.CollectMetricsResponse {
	c.asked = append(c.asked, request.GetVersion())
	answer := &executorv1.CollectMetricsResponse{Version: c.version, Process: c.process}
	if request.GetVersion() != c.version {
		answer.Metrics = c.metrics
	}
	return answer
}

func (c *counting) set(process, version uint64, metrics ...*executorv1.PolicyMetric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process, c.version, c.metrics = process, version, metrics
}

// hello greets the engine as a process that has loaded the policy.
func (c *counting) hello(t *testing.T) *conversation {
	t.Helper()
	stream := c.accept(t)
	stream.reply(&executorv1.ReplyFrame{Hello: &executorv1.Hello{Pid: 7, Policies: []*executorv1.LoadedPolicy{{Name: "p", Version: "v1.0.0"}}}})
	return stream
}

func counted(policy, name string, value float64) *executorv1.PolicyMetric {
	return &executorv1.PolicyMetric{Policy: policy, Name: name, Help: "x", Kind: executorv1.PolicyMetric_KIND_COUNTER,
		Samples: []*executorv1.PolicySample{{Value: value}}}
}

// wantCounted waits until the sum of the counter has this value.
func wantCounted(t *testing.T, groups *Groups, value float64) {
	t.Helper()
	await.Until(t, "another sum", func() bool {
		all := groups.PolicyMetrics()
		return len(all) == 1 && all[0].Name == "seen_total" && all[0].Policy == "p:v1.0.0" && all[0].Samples[0].Value == value
	})
}

func TestMetricsAreCollectedFromProcesses(t *testing.T) {
	x, y := startCounting(t, 1), startCounting(t, 2)
	x.set(1, 5, counted("p:v1.0.0", "seen_total", 3))
	y.set(2, 9, counted("p:v1.0.0", "seen_total", 4))
	groups := connect(t, Options{}, x.scriptedExecutor, y.scriptedExecutor)
	x.hello(t)
	y.hello(t)
	wantCounted(t, groups, 7)
	x.set(1, 6, counted("p:v1.0.0", "seen_total", 10))
	wantCounted(t, groups, 14)
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Equal(slices.Compact(x.asked), []uint64{0, 5}) && !slices.Equal(slices.Compact(x.asked), []uint64{0, 5, 6}) {
		t.Errorf("expected to be asked for what is new since the last answer, got %v", x.asked)
	}
}

func TestMetricsOfACrashedProcessStay(t *testing.T) {
	x := startCounting(t, 1)
	x.set(1, 5, counted("p:v1.0.0", "seen_total", 3))
	groups := connect(t, Options{}, x.scriptedExecutor)
	stream := x.hello(t)
	wantCounted(t, groups, 3)
	stream.breakStream() // the connection alone
	stream = x.hello(t)
	x.set(1, 6, counted("p:v1.0.0", "seen_total", 4))
	wantCounted(t, groups, 4)
	x.set(2, 1, counted("p:v1.0.0", "seen_total", 1)) // another process, with a version that is lower
	stream.breakStream()
	x.hello(t)
	wantCounted(t, groups, 5)
}

func TestAProcessThatLeavesIsAskedOnceMore(t *testing.T) {
	x, y := startCounting(t, 1), startCounting(t, 2)
	x.set(1, 1, counted("p:v1.0.0", "seen_total", 3))
	groups := connect(t, Options{}, x.scriptedExecutor)
	x.hello(t)
	wantCounted(t, groups, 3)
	deployed := deploy(t, groups, 2, y.scriptedExecutor)
	y.hello(t)
	x.set(1, 2, counted("p:v1.0.0", "seen_total", 50)) // since it was asked last, and for the last time
	if err := await.Receive(t, deployed, "the deployment"); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the process to go", func() bool { return len(groups.Stats()) == 1 })
	wantCounted(t, groups, 50)
}

func TestMetricsOfRemovedPoliciesAreDropped(t *testing.T) {
	x, y := startCounting(t, 1), startExecutor(t)
	x.set(1, 1, counted("p:v1.0.0", "seen_total", 3))
	groups := connect(t, Options{}, x.scriptedExecutor)
	x.hello(t)
	wantCounted(t, groups, 3)
	deployed := deploy(t, groups, 2, y)
	y.greet(t) // without policies
	if err := await.Receive(t, deployed, "the deployment"); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "no metrics", func() bool { return len(groups.PolicyMetrics()) == 0 })
}

func TestInvalidMetricsAreRefused(t *testing.T) {
	x := startCounting(t, 1)
	bad := func(change func(*executorv1.PolicyMetric)) *executorv1.PolicyMetric {
		metric := counted("p:v1.0.0", "bad_total", 1)
		change(metric)
		return metric
	}
	x.set(1, 1,
		counted("q:v1.0.0", "seen_total", 1), // a policy that it does not have
		bad(func(m *executorv1.PolicyMetric) { m.Name = "bad name" }),
		bad(func(m *executorv1.PolicyMetric) { m.LabelNames = []string{"policy"} }),
		bad(func(m *executorv1.PolicyMetric) { m.LabelNames = []string{"a"} }),
		bad(func(m *executorv1.PolicyMetric) { m.Kind = 0 }),
		bad(func(m *executorv1.PolicyMetric) { m.Kind, m.Name = executorv1.PolicyMetric_KIND_HISTOGRAM, "bad" }),
		bad(func(m *executorv1.PolicyMetric) { m.Samples[0].Buckets = []uint64{1} }),
		bad(func(m *executorv1.PolicyMetric) { m.Help = "" }),
		bad(func(m *executorv1.PolicyMetric) { m.Help = strings.Repeat("x", 4097) }),
		bad(func(m *executorv1.PolicyMetric) { m.Samples = slices.Repeat(m.GetSamples(), 10_001) }),
		bad(func(m *executorv1.PolicyMetric) {
			m.LabelNames, m.Samples[0].LabelValues = []string{"a"}, []string{strings.Repeat("x", 257)}
		}),
		counted("p:v1.0.0", "seen_total", 3))
	groups := connect(t, Options{}, x.scriptedExecutor)
	x.hello(t)
	wantCounted(t, groups, 3)
}

func TestAProcessThatAnswersSlowlyIsAskedLessOften(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		time.Millisecond: time.Second, 50 * time.Millisecond: time.Second, 200 * time.Millisecond: 4 * time.Second, time.Minute: 30 * time.Second,
	} {
		if got := pauseAfter(took); got != want {
			t.Errorf("%v: expected %v, got %v", took, want, got)
		}
	}
}
