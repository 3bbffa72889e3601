package pythonbridge

import (
	"testing"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

func TestHungExecutionsAreLoggedOnceAndAgainWhenTheyGrow(t *testing.T) {
	report, now := healthReport{}, time.Now()
	news := func(after time.Duration, counts ...uint32) int {
		check := &executorv1.HealthCheckResponse{}
		for n, count := range counts {
			check.Hung = append(check.Hung, &executorv1.HungExecutions{InstanceId: string(rune('a' + n)), Count: count})
		}
		return len(report.record(check, now.Add(after)))
	}
	for n, got := range []int{news(0, 3), news(time.Second, 3), news(2*time.Second, 4), news(3*time.Second, 4, 1), news(40*time.Second, 4, 1), news(41 * time.Second), news(42*time.Second, 1)} {
		if want := []int{1, 0, 1, 1, 2, 0, 1}[n]; got != want {
			t.Errorf("check %d: expected %d to be logged, got %d", n, want, got)
		}
	}
}

func TestSilenceCountsFromTheLastAnswer(t *testing.T) {
	report, now := healthReport{}, time.Now()
	var before, after ProcessStats
	report.addTo(&before, now)
	report.record(&executorv1.HealthCheckResponse{WorkersBusy: 3, WorkersHung: 1}, now)
	report.addTo(&after, now.Add(1500*time.Millisecond))
	if before.SilentMs != 0 || after.SilentMs != 1500 || after.WorkersBusy != 3 || after.WorkersHung != 1 {
		t.Fatalf("expected 0 before the first answer and 1500 ms after it, got %+v and %+v", before, after)
	}
}
