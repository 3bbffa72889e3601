package quarantine

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
)

var testOptions = Options{Crashes: 3, Window: 30 * time.Second, Min: 10 * time.Second, Max: 10 * time.Minute}

// scene is a tracker with its own clock, and the answers of its instances.
type scene struct {
	*CrashTracker
	time     time.Time
	last     ID
	answered map[ID]uint64
}

func newScene() *scene {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	s := &scene{CrashTracker: NewCrashTracker(testOptions, log), time: time.Unix(1_000_000, 0), answered: map[ID]uint64{}}
	s.now = func() time.Time { return s.time }
	return s
}

func (s *scene) instance(name string) ID {
	s.last++
	s.Track(Instance{ID: s.last, Policy: name + ":v1.0.0", API: name, Name: name})
	return s.last
}

// crash lets time pass, and a process crash in which these had executions under way.
func (s *scene) crash(after time.Duration, of ...ID) {
	s.time = s.time.Add(after)
	var all []Candidate
	for _, id := range of {
		all = append(all, Candidate{ID: id, Answered: s.answered[id], Alone: len(of) == 1})
	}
	s.RecordCrash(all)
}

// refused asks for an execution, which becomes the probe if the time is up.
func (s *scene) refused(id ID) bool {
	_, refusal := s.Admit(id)
	return refusal != nil
}

func wantRefused(t *testing.T, s *scene, id ID, want bool) {
	t.Helper()
	if got := s.refused(id); got != want {
		t.Fatalf("expected refused = %v for instance %d, got %v", want, id, got)
	}
}

func TestThreeCrashesInTheWindowQuarantine(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	s.crash(time.Second, culprit)
	s.crash(time.Second, culprit)
	wantRefused(t, s, culprit, false)
	s.crash(time.Second, culprit)
	wantRefused(t, s, culprit, true)
}

// hold lets time pass, and one of these hold the interpreter of a process.
func (s *scene) hold(after time.Duration, of ...ID) string {
	s.time = s.time.Add(after)
	var all []Candidate
	for _, id := range of {
		all = append(all, Candidate{ID: id, Answered: s.answered[id]})
	}
	return s.RecordHold(all, "policies/p/policy.py:9")
}

func TestOneHoldOfAnInterpreterQuarantines(t *testing.T) {
	s := newScene()
	culprit, other := s.instance("culprit"), s.instance("other")
	s.answered[culprit] = 5000 // it is a request that makes it hold, and not each of them
	if got := s.hold(time.Second, culprit); got != "culprit" {
		t.Fatalf("expected the culprit to be named, got %q", got)
	}
	wantRefused(t, s, culprit, true)
	wantRefused(t, s, other, false)
	if got := s.Quarantined(); len(got) != 1 || got[0].HeldAt != "policies/p/policy.py:9" || got[0].Crashes != 1 {
		t.Fatalf("expected one crash and its line, got %+v", got)
	}
}

func TestAHoldWhileUnderQuarantineCountsAndIsNoOther(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	s.hold(time.Second, culprit)
	if got := s.hold(time.Second, culprit); got != "" { // another process that was at it too
		t.Fatalf("expected no second quarantine, got one of %q", got)
	}
	if got := s.Check(culprit, nil).Left; got != testOptions.Min-time.Second {
		t.Fatalf("expected the quarantine to end when it would have, got %s left", got)
	}
	s.hold(testOptions.Min, culprit) // its probe
	if got := s.Check(culprit, nil).Left; got != 2*testOptions.Min {
		t.Fatalf("expected a quarantine twice as long, got %s", got)
	}
}

func TestAHoldWithoutCandidatesQuarantinesNone(t *testing.T) {
	s := newScene()
	if got := s.hold(time.Second, 4711); got != "" || len(s.Quarantined()) != 0 {
		t.Fatalf("expected no quarantine, got %q, %+v", got, s.Quarantined())
	}
}

func TestCrashesFarApartDoNotQuarantine(t *testing.T) {
	s := newScene()
	unlucky := s.instance("unlucky")
	for range 10 {
		s.crash(16*time.Second, unlucky)
	}
	wantRefused(t, s, unlucky, false)
}

func TestAnInstanceThatAnswersBetweenCrashesIsInnocent(t *testing.T) {
	s := newScene()
	busy := s.instance("busy")
	for range 10 {
		s.answered[busy] += answeredPerCrash + 1
		s.crash(time.Second, busy)
	}
	wantRefused(t, s, busy, false)
}

// TestCrashesAtOnceCountInAnyOrder: the last recorded may have fewer answers than the first.
func TestCrashesAtOnceCountInAnyOrder(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for _, answered := range []uint64{1, 0, 0} {
		s.answered[culprit] = answered
		s.crash(0, culprit)
	}
	wantRefused(t, s, culprit, true)
}

func TestOfAllCandidatesTheOneThatAnsweredLeastIsQuarantined(t *testing.T) {
	s := newScene()
	culprit, slow := s.instance("culprit"), s.instance("slow")
	for range 3 {
		s.answered[slow] += 2
		s.crash(time.Second, slow, culprit)
	}
	wantRefused(t, s, culprit, true)
	wantRefused(t, s, slow, false)
}

func TestOfEqualCandidatesTheOneThatWasAloneIsQuarantined(t *testing.T) {
	s := newScene()
	culprit, bystander, another := s.instance("culprit"), s.instance("bystander"), s.instance("another")
	s.crash(time.Second, bystander, another)
	s.crash(time.Second, culprit)
	s.crash(time.Second, bystander, culprit)
	s.crash(time.Second, bystander, culprit)
	wantRefused(t, s, culprit, true)
	wantRefused(t, s, bystander, false)
}

func TestAfterTheTimeOneExecutionDecides(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	s.time = s.time.Add(testOptions.Min + time.Second)
	probe, refusal := s.Admit(culprit)
	if _, other := s.Admit(culprit); probe == nil || refusal != nil || other == nil {
		t.Fatal("expected the first execution to be let through, and no other")
	}
	if s.Check(culprit, nil) == nil || s.Check(culprit, probe) != nil {
		t.Fatal("expected the probe to be let through again, and what was admitted before the quarantine not")
	}
	probe.Conclude(true)
	wantRefused(t, s, culprit, false)
	wantRefused(t, s, culprit, false)
}

func TestAProbeWithoutResultIsFollowedByAnother(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	s.time = s.time.Add(testOptions.Min + time.Second)
	probe, _ := s.Admit(culprit)
	probe.Conclude(false)
	wantRefused(t, s, culprit, false)
	wantRefused(t, s, culprit, true)
}

func TestAProbeOfAQuarantineThatIsOverDecidesNothing(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	s.time = s.time.Add(testOptions.Min + time.Second)
	probe, _ := s.Admit(culprit)
	s.crash(time.Second, culprit) // of the probe
	if s.Check(culprit, probe) == nil {
		t.Fatal("expected the probe of the old quarantine to be refused")
	}
	probe.Conclude(true) // an answer that came too late
	wantRefused(t, s, culprit, true)
}

func TestEachQuarantineIsTwiceAsLongUpToTheLongest(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		want *= time.Second
		if got := s.Check(culprit, nil).Left; got != want {
			t.Fatalf("expected a quarantine of %s, got %s", want, got)
		}
		s.crash(want+time.Second, culprit) // of the probe
	}
}

func TestResetEndsQuarantines(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	s.Reset()
	wantRefused(t, s, culprit, false)
	s.crash(time.Second, culprit)
	wantRefused(t, s, culprit, false)
}

func TestUntrackedInstancesAreIgnored(t *testing.T) {
	s := newScene()
	closed := s.instance("closed")
	s.Forget(closed)
	for range 4 {
		s.crash(time.Second, closed)
	}
	if wantRefused(t, s, closed, false); len(s.records) != 0 {
		t.Fatalf("expected nothing to be kept of an instance that is closed, got %d records", len(s.records))
	}
}

func TestForgettingEndsTheQuarantine(t *testing.T) {
	s := newScene()
	culprit, other := s.instance("culprit"), s.instance("other")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	s.Forget(culprit)
	if got := s.Quarantined(); len(got) != 0 || s.current.Load() != nil {
		t.Fatalf("expected no instance under quarantine, got %v", got)
	}
	wantRefused(t, s, other, false)
}

func TestStatusNamesTheInstance(t *testing.T) {
	s := newScene()
	culprit := s.instance("culprit")
	for range 3 {
		s.crash(time.Second, culprit)
	}
	want := Status{Instance{culprit, "culprit:v1.0.0", "culprit", "culprit"}, Refusal{Crashes: 3, Left: 9 * time.Second}}
	s.time = s.time.Add(time.Second)
	if got := s.Quarantined(); len(got) != 1 || got[0] != want {
		t.Fatalf("expected %+v, got %+v", want, got)
	}
}

// TestQuarantineInvariants draws histories, and checks the invariants of all of them.
func TestQuarantineInvariants(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		s := newScene()
		ids := []ID{s.instance("a"), s.instance("b"), s.instance("c")}
		probes := map[*Probe]bool{} // not concluded
		id := func() ID { return rapid.SampledFrom(ids).Draw(t, "instance") }
		t.Repeat(map[string]func(*rapid.T){
			"crash": func(t *rapid.T) {
				before := s.Quarantined()
				s.crash(time.Duration(rapid.IntRange(0, 20).Draw(t, "s"))*time.Second, rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, 3, rapid.ID).Draw(t, "under way")...)
				if after := s.Quarantined(); len(after) > len(before)+1 {
					t.Fatalf("one crash put %d instances under quarantine", len(after)-len(before))
				}
			},
			"answer": func(t *rapid.T) { s.answered[id()] += uint64(rapid.IntRange(1, 50).Draw(t, "answers")) },
			"pass": func(t *rapid.T) {
				s.time = s.time.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "s")) * time.Second)
			},
			"admit": func(t *rapid.T) {
				of := id()
				probe, refusal := s.Admit(of)
				if probe != nil && (refusal != nil || s.Check(of, nil).Left > 0) {
					t.Fatal("a probe was sent before the time was up")
				}
				for other := range probes {
					if probe != nil && other.of == probe.of {
						t.Fatal("two probes of one quarantine are under way")
					}
				}
				if probe != nil {
					probes[probe] = true
				}
			},
			"conclude": func(t *rapid.T) {
				for probe := range probes {
					delete(probes, probe)
					answered := rapid.Bool().Draw(t, "answered")
					current := s.find(probe.of.id) == probe.of
					probe.Conclude(answered)
					if free := s.find(probe.of.id) == nil; current && free != answered {
						t.Fatalf("the probe was answered: %v, the instance is free: %v", answered, free)
					}
					return
				}
			},
			"": func(t *rapid.T) {
				for _, q := range s.Quarantined() {
					if q.Left > testOptions.Max || q.Crashes < testOptions.Crashes {
						t.Fatalf("instance %d is under quarantine for %s after %d crashes", q.ID, q.Left, q.Crashes)
					}
				}
			},
		})
	})
}

// TestOneProbeOfManyGoroutines has many goroutines ask at once, with crashes meanwhile.
func TestOneProbeOfManyGoroutines(t *testing.T) {
	for range 100 {
		s := newScene()
		culprit := s.instance("culprit")
		for range 3 {
			s.crash(time.Second, culprit)
		}
		s.time = s.time.Add(testOptions.Min)
		var sent atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if probe, _ := s.Admit(culprit); probe != nil {
					sent.Add(1)
				}
			})
		}
		all.Go(func() { s.Quarantined() })
		all.Go(func() { s.RecordCrash([]Candidate{{ID: 99}}) })
		all.Wait()
		if sent.Load() != 1 {
			t.Fatalf("expected one probe, got %d", sent.Load())
		}
	}
}
