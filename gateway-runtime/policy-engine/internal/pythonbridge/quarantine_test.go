package pythonbridge

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// court is a ledger with a clock of its own.
type court struct {
	*ledger
	now time.Time
}

func newCourt() *court {
	return &court{newLedger(Options{}.withDefaults(), quiet), time.Unix(1_000_000, 0)}
}

func suspected(name string) *instance {
	return newInstance(&executorv1.ConfigureInstance{PolicyName: name, PolicyVersion: "v1.0.0", ApiName: name, InstanceId: name})
}

// death lets time pass and a process die that had executions of these under way.
func (c *court) death(after time.Duration, of ...*instance) {
	c.now = c.now.Add(after)
	var all []suspect
	for _, i := range of {
		all = append(all, suspect{i, len(of) == 1})
	}
	c.blame(all, c.now)
}

func (c *court) refused(i *instance) bool {
	q := i.confined.Load()
	return q != nil && !q.admits(&execution{instance: i}, c.now)
}

func wantRefused(t *testing.T, c *court, i *instance, want bool) {
	t.Helper()
	if got := c.refused(i); got != want {
		t.Fatalf("expected refused = %v for %s, got %v", want, i, got)
	}
}

func TestThreeDeathsInTheWindowConfine(t *testing.T) {
	c, culprit := newCourt(), suspected("culprit")
	c.death(time.Second, culprit)
	c.death(time.Second, culprit)
	wantRefused(t, c, culprit, false)
	c.death(time.Second, culprit)
	wantRefused(t, c, culprit, true)
}

func TestDeathsFarApartDoNotConfine(t *testing.T) {
	c, unlucky := newCourt(), suspected("unlucky")
	for range 10 {
		c.death(16*time.Second, unlucky)
	}
	wantRefused(t, c, unlucky, false)
}

func TestOneThatAnswersBetweenTheDeathsIsInnocent(t *testing.T) {
	c, busy := newCourt(), suspected("busy")
	for range 10 {
		busy.answered.Add(answeredPerDeath + 1)
		c.death(time.Second, busy)
	}
	wantRefused(t, c, busy, false)
}

func TestOfAllSuspectsTheOneThatAnsweredLeastIsConfined(t *testing.T) {
	c, culprit, slow := newCourt(), suspected("culprit"), suspected("slow")
	for range 3 {
		slow.answered.Add(2)
		c.death(time.Second, slow, culprit)
	}
	wantRefused(t, c, culprit, true)
	wantRefused(t, c, slow, false)
}

func TestOfEqualSuspectsTheOneThatWasAloneIsConfined(t *testing.T) {
	c, culprit, bystander := newCourt(), suspected("culprit"), suspected("bystander")
	c.death(time.Second, bystander, suspected("another"))
	c.death(time.Second, culprit)
	c.death(time.Second, bystander, culprit)
	c.death(time.Second, bystander, culprit)
	wantRefused(t, c, culprit, true)
	wantRefused(t, c, bystander, false)
}

func TestAfterTheTimeOneExecutionDecides(t *testing.T) {
	c, culprit := newCourt(), suspected("culprit")
	for range 3 {
		c.death(time.Second, culprit)
	}
	c.now = c.now.Add(c.options.QuarantineMin + time.Second)
	probe, other := &execution{instance: culprit}, &execution{instance: culprit}
	if q := culprit.confined.Load(); !q.admits(probe, c.now) || q.admits(other, c.now) || !q.admits(probe, c.now) {
		t.Fatal("expected the first execution to be let through, and no other")
	}
	c.conclude(probe, true)
	wantRefused(t, c, culprit, false)
	wantRefused(t, c, culprit, false)
}

func TestAProbeThatSaysNothingIsFollowedByAnother(t *testing.T) {
	c, culprit := newCourt(), suspected("culprit")
	for range 3 {
		c.death(time.Second, culprit)
	}
	c.now = c.now.Add(c.options.QuarantineMin + time.Second)
	probe := &execution{instance: culprit}
	culprit.confined.Load().admits(probe, c.now)
	c.conclude(probe, false)
	wantRefused(t, c, culprit, false)
	wantRefused(t, c, culprit, true)
}

func TestEachQuarantineIsTwiceAsLongUpToTheLongest(t *testing.T) {
	c, culprit := newCourt(), suspected("culprit")
	for range 3 {
		c.death(time.Second, culprit)
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		want *= time.Second
		if got := culprit.confined.Load().until.Sub(c.now); got != want {
			t.Fatalf("expected a quarantine of %s, got %s", want, got)
		}
		c.death(want+time.Second, culprit) // of the probe
	}
}

func TestNewCodeIsFree(t *testing.T) {
	c, culprit := newCourt(), suspected("culprit")
	for range 3 {
		c.death(time.Second, culprit)
	}
	c.pardon()
	wantRefused(t, c, culprit, false)
	c.death(time.Second, culprit)
	wantRefused(t, c, culprit, false)
}

// dieOf has the process die while an execution of the policy is under way there, and returns how that ended.
func dieOf(t *testing.T, c *conversation, policy v1alpha.Policy) error {
	t.Helper()
	waiting := callWith(t, patience, policy)
	c.hold()
	c.end <- status.Error(codes.Unavailable, "the process is gone")
	return receive(t, waiting, "the crash").err
}

func TestAPolicyThatKillsIsAnsweredWithoutBeingSentAndTriedAgain(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{QuarantineMin: 200 * time.Millisecond}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	for range 3 {
		wantClass(t, dieOf(t, c, policy), v1alpha.ClassCrashed)
		c = x.greet(t)
		c.configured()
		eventually(t, "the process is back", func() bool { return statsOf(groups, 0).Connected })
	}
	wantClass(t, receive(t, callWith(t, patience, policy), "a refusal").err, v1alpha.ClassCrashed)
	got := groups.Quarantined()
	if len(got) != 1 || got[0].Policy != "add-python-header:v1.0.0" || got[0].API != "orders-v1" || got[0].Instance != "i1" || got[0].Deaths != 3 {
		t.Fatalf("expected the instance with 3 deaths, got %+v", got)
	}
	eventually(t, "the time is up", func() bool { return groups.Quarantined()[0].LeftMs == 0 })
	answerNext(t, c, callWith(t, patience, policy))
	if got := groups.Quarantined(); len(got) != 0 {
		t.Fatalf("expected the instance to be free, got %+v", got)
	}
	answerNext(t, c, callWith(t, patience, policy))
}

func TestWhatIsAbandonedMayStillBringTheProcessDown(t *testing.T) {
	x := startExecutor(t)
	groups := connect(t, Options{QuarantineDeaths: 1}, x)
	c := x.greet(t)
	policy := bridgeOn(t, groups, c)
	wantClass(t, receive(t, callWith(t, 20*time.Millisecond, policy), "a timeout").err, v1alpha.ClassTimeout)
	c.end <- status.Error(codes.Unavailable, "out of memory")
	eventually(t, "the instance is confined", func() bool { return len(groups.Quarantined()) == 1 })
}
