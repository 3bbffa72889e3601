package store

import (
	"encoding/binary"
	"slices"
	"time"
)

// account is a budget's entry in memory: what is spent, and what reservations hold. Reservations that end in the same span
// of time share a slot, so that its size does not grow with the number of reservations.
type account struct {
	spent int64
	slots []slot
}

// slot is the sum of the reservations that end at a time, in milliseconds of the memory's clock.
type slot struct{ ends, amount int64 }

// slotsOfHold is the number of slots in the time for which a reservation is held.
const slotsOfHold = 8

// slotEnd returns the end of the slot of a reservation that begins now: hold from now, or up to an eighth of it later.
func slotEnd(now, hold time.Duration) int64 {
	step := max(1, hold.Milliseconds()/slotsOfHold)
	return (now.Milliseconds() + hold.Milliseconds() + step - 1) / step * step
}

func (a *account) dropEnded(now time.Duration) {
	a.slots = slices.DeleteFunc(a.slots, func(s slot) bool { return s.ends <= now.Milliseconds() })
}

func (a *account) reserved() (sum int64) {
	for _, s := range a.slots {
		sum += s.amount
	}
	return sum
}

func (a *account) add(held slot) {
	for i := range a.slots {
		if a.slots[i].ends == held.ends {
			a.slots[i].amount += held.amount
			return
		}
	}
	a.slots = append(a.slots, held)
}

// remove takes a reservation out of its slot, if the slot has not ended.
func (a *account) remove(held slot) {
	for i := range a.slots {
		if a.slots[i].ends == held.ends {
			a.slots[i].amount = max(0, a.slots[i].amount-held.amount)
		}
	}
	a.slots = slices.DeleteFunc(a.slots, func(s slot) bool { return s.amount == 0 })
}

func (a account) bytes() []byte {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 8+16*len(a.slots)), uint64(a.spent))
	for _, s := range a.slots {
		value = binary.BigEndian.AppendUint64(value, uint64(s.ends))
		value = binary.BigEndian.AppendUint64(value, uint64(s.amount))
	}
	return value
}

// parseAccount reads what account.bytes wrote.
func parseAccount(value []byte) account {
	next := func() int64 {
		number := binary.BigEndian.Uint64(value)
		value = value[8:]
		return int64(number)
	}
	a := account{spent: next()}
	for len(value) > 0 {
		a.slots = append(a.slots, slot{ends: next(), amount: next()})
	}
	return a
}
