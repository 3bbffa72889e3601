package operations_test

import (
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policy-engine/internal/operations"
)

// TestATableStaysForItsGrace after the last bundle that has it, unless another one has it again.
func TestATableStaysForItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, tables := newTable(t, orders()), &operations.Tables{}
		wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		tables.Acquire(table)
		tables.Acquire(table)
		tables.Release("table", time.Second)
		wait(time.Minute)
		if tables.Find("table") != table {
			t.Fatal("expected the table, since a bundle has it")
		}
		tables.Release("table", time.Second)
		wait(time.Second / 2)
		tables.Acquire(table)
		wait(time.Minute)
		if tables.Find("table") != table {
			t.Fatal("expected the table, since a bundle has it again")
		}
		tables.Release("table", time.Second)
		wait(time.Second / 2)
		if tables.Find("table") != table {
			t.Fatal("expected the table for its grace")
		}
		wait(time.Second)
		if tables.Find("table") != nil {
			t.Fatal("expected no table after its grace")
		}
	})
}
