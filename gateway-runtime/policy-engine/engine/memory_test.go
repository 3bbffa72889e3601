package engine

import "testing"

func TestGarbageIsFewWhereBodiesAreMany(t *testing.T) {
	for held, most := range map[int64]int64{0: 64 << 20, 32 << 20: 68 << 20, 128 << 20: 80 << 20, 1 << 30: 192 << 20} {
		if garbage := int64(garbagePercent(held)) * (usualState + held) / 100; garbage > most || garbage < most*9/10 {
			t.Errorf("%d bytes held: expected about %d bytes of garbage, got %d", held, most, garbage)
		}
	}
	if got := garbagePercent(0); got != usualPercent {
		t.Errorf("expected %d %% with nothing held, got %d", usualPercent, got)
	}
}
