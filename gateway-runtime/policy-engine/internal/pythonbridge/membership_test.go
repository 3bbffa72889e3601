package pythonbridge

import "testing"

func TestAProcessRunsTheGenerationsFromTheOneItJoinedInToItsLast(t *testing.T) {
	m := membership{joined: &generation{number: 3}}
	m.last.Store(stillServing)
	for number, want := range map[uint64]bool{2: false, 3: true, 4: true, 1000: true} {
		if got := m.runs(&generation{number: number}); got != want {
			t.Errorf("generation %d while it serves: expected %v, got %v", number, want, got)
		}
	}
	m.last.Store(4)
	for number, want := range map[uint64]bool{2: false, 3: true, 4: true, 5: false} {
		if got := m.runs(&generation{number: number}); got != want {
			t.Errorf("generation %d once it was replaced: expected %v, got %v", number, want, got)
		}
	}
}
