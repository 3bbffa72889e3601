package chain_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// hooks is a policy that may block, and does not declare it.
type hooks struct {
	request func(context.Context) (v1alpha.RequestAction, error)
	closed  int
}

func (h *hooks) OnRequest(ctx context.Context, _ *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return h.request(ctx)
}

func (*hooks) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

func (h *hooks) Close() error {
	h.closed++
	return errors.New("closed")
}

// punctual declares that it keeps its deadlines.
type punctual struct{ *hooks }

func (punctual) KeepsDeadlines() {}

func instanceOf(p v1alpha.Policy, change ...func(*chain.Settings)) *chain.Instance {
	s := chain.Settings{Mode: modes("h")}
	for _, c := range change {
		c(&s)
	}
	return chain.NewInstance("i", "p:v1.0.0", p, s)
}

// outcome runs a GET through the one instance, and returns the last line of the transcript.
func outcome(t *testing.T, i *chain.Instance) string {
	t.Helper()
	line, _ := executed(t, i)
	return line
}

// executed is outcome, and the execution as the observer saw it.
func executed(t *testing.T, i *chain.Instance) (string, chain.Execution) {
	t.Helper()
	x := get()
	if err := x.run(t, i); err != nil {
		return err.Error(), chain.Execution{}
	}
	seen := x.observer.of(i.Name())
	if len(seen) != 1 || x.observer.began != 1 {
		t.Fatalf("expected one execution, got %+v", seen)
	}
	line, _, _ := strings.Cut(x.lines[len(x.lines)-1], " [")
	return line, seen[0]
}

func sleeper(d time.Duration) *hooks {
	return &hooks{request: func(context.Context) (v1alpha.RequestAction, error) {
		time.Sleep(d)
		return nil, nil
	}}
}

func TestTimeoutOfAPolicyThatIgnoresIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, start := instanceOf(sleeper(time.Minute)), time.Now()
		got, execution := executed(t, i)
		if got != "answer 504 policy_timeout" || time.Since(start) != chain.DefaultTimeout || execution.Duration != chain.DefaultTimeout {
			t.Errorf("got %s after %v", got, time.Since(start))
		}
		if i.Active() != 1 {
			t.Error("the late execution is not under way any more")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if i.Active() != 0 || execution.Failure == nil || execution.Failure.Class != v1alpha.ClassTimeout {
			t.Errorf("%d under way, observed %+v", i.Active(), execution)
		}
	})
}

func TestTimeoutOfAPolicyThatKeepsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		i := instanceOf(punctual{&hooks{request: func(ctx context.Context) (v1alpha.RequestAction, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}}, func(s *chain.Settings) { s.Timeout = 3 * time.Second })
		if got := outcome(t, i); got != "answer 504 policy_timeout" || time.Since(start) != 3*time.Second {
			t.Errorf("got %s after %v", got, time.Since(start))
		}
	})
}

func TestDeadlineOfAnotherContextIsNoTimeout(t *testing.T) {
	i := instanceOf(&hooks{request: func(context.Context) (v1alpha.RequestAction, error) { return nil, context.DeadlineExceeded }})
	if got := outcome(t, i); got != "answer 500 policy_exception" {
		t.Errorf("got %s", got)
	}
}

func TestMaxConcurrencyCountsLateExecutions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := instanceOf(sleeper(10*time.Second), func(s *chain.Settings) { s.MaxConcurrency = 1 })
		if got := outcome(t, i); got != "answer 504 policy_timeout" {
			t.Errorf("got %s", got)
		}
		if got := outcome(t, i); got != "answer 503 policy_overloaded" {
			t.Errorf("got %s", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := outcome(t, i); got != "answer 504 policy_timeout" {
			t.Errorf("after the first had ended: got %s", got)
		}
		time.Sleep(10 * time.Second)
	})
}

func TestAFailureThatIsLoggedAlreadyIsMarked(t *testing.T) {
	for _, logged := range []bool{false, true} {
		failure := &v1alpha.Failure{Class: v1alpha.ClassTimeout, Message: "late", Logged: logged}
		i := instanceOf(&hooks{request: func(context.Context) (v1alpha.RequestAction, error) { return nil, failure }})
		if got, execution := executed(t, i); got != "answer 504 policy_timeout" || execution.Failure.Logged != logged {
			t.Errorf("got %s, %+v", got, execution)
		}
	}
}

func TestExceptions(t *testing.T) {
	var nothing *v1alpha.Failure
	for name, request := range map[string]func(context.Context) (v1alpha.RequestAction, error){
		"panic":         func(context.Context) (v1alpha.RequestAction, error) { panic("secret") },
		"nil pointer":   func(context.Context) (v1alpha.RequestAction, error) { return nil, errors.New((*does)(nil).name) },
		"error":         func(context.Context) (v1alpha.RequestAction, error) { return nil, errors.New("secret") },
		"nil failure":   func(context.Context) (v1alpha.RequestAction, error) { return nil, nothing },
		"unknown class": func(context.Context) (v1alpha.RequestAction, error) { return nil, v1alpha.Failf("other", "secret") },
		"exit": func(context.Context) (v1alpha.RequestAction, error) {
			runtime.Goexit()
			return nil, nil
		},
	} {
		i := instanceOf(&hooks{request: request})
		got, execution := executed(t, i)
		if got != "answer 500 policy_exception" {
			t.Errorf("%s: got %s", name, got)
		}
		if i.Active() != 0 || execution.Failure == nil || execution.Failure.Class != v1alpha.ClassException {
			t.Errorf("%s: observed %+v", name, execution)
		}
	}
}

func TestTypedNilActionIsNoAction(t *testing.T) {
	for _, action := range []v1alpha.RequestAction{(*v1alpha.ImmediateResponse)(nil), (*v1alpha.UpstreamRequestModifications)(nil)} {
		i := instanceOf(&hooks{request: func(context.Context) (v1alpha.RequestAction, error) { return action, nil }})
		if got := outcome(t, i); got != "send request" {
			t.Errorf("%T: got %s", action, got)
		}
	}
}

func TestAnExchangeThatIsCancelledEndsTheExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		i, start := instanceOf(sleeper(time.Second/2)), time.Now()
		x := get()
		if err := x.runWith(ctx, t, i); !errors.Is(err, context.Canceled) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if seen := x.observer.of(i.Name()); len(seen) != 1 || seen[0].Failure != nil || !seen[0].Cancelled {
			t.Errorf("observed %+v", seen)
		}
		time.Sleep(time.Second)
	})
}

func TestInstanceIsClosedOnce(t *testing.T) {
	policy := &hooks{}
	i := instanceOf(policy)
	first, second := i.Close(), i.Close()
	if policy.closed != 1 || first == nil || !errors.Is(second, first) {
		t.Errorf("closed %d times: %v, %v", policy.closed, first, second)
	}
}

func TestATimeoutSaysItsLimitAndTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := v1alpha.Failf(v1alpha.ClassTimeout, "no answer")
		for _, policy := range []v1alpha.Policy{sleeper(3 * time.Second), punctual{&hooks{
			request: func(ctx context.Context) (v1alpha.RequestAction, error) { <-ctx.Done(); return nil, late },
		}}} {
			_, execution := executed(t, instanceOf(policy, func(s *chain.Settings) { s.Timeout = 1500 * time.Millisecond }))
			if want := "its timeout is 1.5s, and 1.5s have passed"; execution.Failure == nil || !strings.Contains(execution.Failure.Message, want) {
				t.Errorf("expected %q, got %+v", want, execution.Failure)
			}
			time.Sleep(5 * time.Second)
		}
		if late.Message != "no answer" {
			t.Error("a failure that is shared was changed")
		}
	})
}
