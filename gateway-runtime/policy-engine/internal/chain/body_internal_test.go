package chain

import (
	"bytes"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
)

// TestABodyKeepsItsContent, however it was cut, is charged with no less than its memory, and gives all of it back.
func TestABodyKeepsItsContent(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		budget := NewBudget(64 << 20)
		held, want := body{budget: budget}, []byte(nil)
		sizes := rapid.SliceOf(rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 70_000))).Draw(t, "pieces")
		declared := 0
		for _, size := range sizes {
			declared += size
		}
		if rapid.Bool().Draw(t, "its size is unknown") {
			declared = 0
		}
		for at, size := range sizes {
			piece := bytes.Repeat([]byte{byte(at)}, size)
			want = append(want, piece...)
			if !held.add(piece, int64(declared)) {
				t.Fatal("it should fit")
			}
			taken := 0
			for _, piece := range held.pieces {
				taken += cap(piece)
			}
			if budget.Stats().Held < int64(taken) || taken > 2*len(want)+block {
				t.Fatalf("%d bytes came, %d are allocated, %d charged", len(want), taken, budget.Stats().Held)
			}
		}
		got, ok := held.whole()
		if !ok || !bytes.Equal(got, want) || held.size != int64(len(want)) {
			t.Fatalf("expected %d bytes, got %d others", len(want), len(got))
		}
		if held.drop(); budget.Stats().Held != 0 {
			t.Fatalf("%d bytes are still charged", budget.Stats().Held)
		}
	})
}

// TestABodyThatIsTakenPieceByPieceGivesBackEach: a stream lasts, and pieces that have been sent are no longer held.
func TestABodyThatIsTakenPieceByPieceGivesBackEach(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		budget := NewBudget(64 << 20)
		held := body{budget: budget}
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 70_000)), 1, 20).Draw(t, "pieces")
		want := []byte(nil)
		for at, size := range sizes {
			piece := bytes.Repeat([]byte{byte(at)}, size)
			want = append(want, piece...)
			held.add(piece, 0)
		}
		got := []byte(nil)
		for range rapid.IntRange(0, len(held.pieces)).Draw(t, "taken") {
			before := budget.Stats().Held
			piece, _ := held.shift()
			got = append(got, piece...)
			if freed := before - budget.Stats().Held; freed < int64(len(piece)) {
				t.Fatalf("%d bytes are taken, %d given back", len(piece), freed)
			}
		}
		if !bytes.HasPrefix(want, got) || held.size != int64(len(want)-len(got)) {
			t.Fatalf("%d bytes came, %d others are taken, %d left", len(want), len(got), held.size)
		}
		if held.drop(); budget.Stats().Held != 0 {
			t.Fatalf("%d bytes are still charged", budget.Stats().Held)
		}
	})
}

func TestAPieceOfOneByteCostsNoPiece(t *testing.T) {
	budget := NewBudget(1 << 30)
	held := body{budget: budget}
	for range 1 << 20 {
		held.add([]byte{'x'}, 0)
	}
	if charged := budget.Stats().Held; charged > 1<<20*5/4 || len(held.pieces) > 200 {
		t.Errorf("1 MiB, byte by byte: %d bytes are charged, in %d pieces", charged, len(held.pieces))
	}
}

func TestABodyOfADeclaredSizeIsJoinedOnce(t *testing.T) {
	budget := NewBudget(1 << 30)
	held := body{budget: budget}
	for range 1<<20/(32<<10) - 1 {
		held.add(make([]byte, 32<<10), 1<<20)
	}
	if charged := budget.Stats().Held; charged > 1<<20+1<<10 {
		t.Errorf("1 MiB is declared, but %d bytes are charged", charged)
	}
	first := &held.pieces[0][0]
	held.add(make([]byte, 32<<10), 1<<20)
	if whole, _ := held.whole(); &whole[0] != first || len(whole) != 1<<20 {
		t.Error("expected the body where it was")
	}
}

func TestBudgetReportsSteps(t *testing.T) {
	budget := NewBudget(1 << 30)
	budget.reserve(BudgetStep - 1)
	select {
	case <-budget.Changed():
		t.Error("expected nothing below a step")
	default:
	}
	budget.reserve(1)
	<-budget.Changed()
	budget.charge(-1)
	<-budget.Changed()
}

func TestABodyThatDoesNotFitBlocksNoOther(t *testing.T) {
	b := NewBudget(100)
	begun, over := make(chan struct{}), make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		close(begun)
		for {
			select {
			case <-over:
				return
			default:
				b.reserve(1000)
			}
		}
	})
	<-begun
	for range 500_000 {
		if !b.reserve(1) {
			t.Error("expected one byte of 100 to fit beside nothing, got a refusal")
			break
		}
		b.charge(-1)
	}
	close(over)
	others.Wait()
}

func TestAnOptionalReservationIsNoRefusal(t *testing.T) {
	b := body{budget: NewBudget(100 << 10)}
	for range 9 {
		if !b.add(make([]byte, 8<<10), 80<<10) {
			t.Fatal("expected the piece to fit")
		}
	}
	if refused := b.budget.Stats().Refused; refused != 0 {
		t.Errorf("expected no refusal, got %d", refused)
	}
	if _, ok := b.whole(); ok || b.budget.Stats().Refused != 1 {
		t.Errorf("expected one refusal, got %d", b.budget.Stats().Refused)
	}
}
