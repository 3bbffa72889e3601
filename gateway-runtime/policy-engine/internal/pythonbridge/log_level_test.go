package pythonbridge

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// SetLogLevel records the level that the scripted executor gets.
func (x *scriptedExecutor) SetLogLevel(_ context.Context, r *executorv1.SetLogLevelRequest) (*executorv1.SetLogLevelResponse, error) {
	if r.GetLevel() == "refused" {
		return nil, status.Error(codes.InvalidArgument, "script says no")
	}
	x.logLevels <- r.GetLevel()
	return &executorv1.SetLogLevelResponse{}, nil
}

func (x *scriptedExecutor) expectLogLevel(t *testing.T, expected string) {
	t.Helper()
	select {
	case level := <-x.logLevels:
		if level != expected {
			t.Errorf("expected %s, got %s", expected, level)
		}
	case <-time.After(patience):
		t.Error("no log level came")
	}
}

func TestALogLevelIsForAllExecutorsAndThoseToCome(t *testing.T) {
	first, second := startExecutor(t), startExecutor(t)
	groups := NewGroups(map[string][]string{"default": {first.address}}, Options{}, quiet)
	defer groups.Close()
	first.greet(t)
	if err := groups.SetLogLevel(t.Context(), "debug"); err != nil {
		t.Fatal(err)
	}
	first.expectLogLevel(t, "debug")
	groups.connect(groups.groupOrNew("default").addProcess(second.address, groups.generations.current.Load(), roleServing, nil))
	second.greet(t)
	second.expectLogLevel(t, "debug")
	if err := groups.SetLogLevel(t.Context(), "refused"); err == nil {
		t.Error("expected the executors' error, got nothing")
	}
}
