package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"gatewright.dev/sdk/policy/v1alpha"
)

// ping writes, as calls of policies do. It leaves no key.
var ping = valkey.NewLuaScript(`return redis.call('DEL', KEYS[1])`)

// increment adds to a number, and sets the expiry if it creates the key. INCRBY refuses values that are no number, or would
// overflow. The sum is read as text, since a number in Lua has 53 bits.
var increment = valkey.NewLuaScript(`
redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])`)

// throttle is v1alpha.Limit.Decide, by the server's clock, so that nodes need not agree on the time. It counts microseconds
// from 2025, since a number in Lua has 53 bits. Arguments: interval, burst, cost; in tests also the time.
var throttle = valkey.NewLuaScript(`
local time = redis.call('TIME')
local now = tonumber(ARGV[4] or (tonumber(time[1]) - 1735689600) * 1000000 + tonumber(time[2]))
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local room = burst * interval
local before = tonumber(redis.call('GET', KEYS[1]) or now)
local tat = math.min(math.max(before, now), now + room)
local after = tat + cost * interval
local allowed, retry = 1, 0
if after - now > room + 0.001 then
  allowed, retry, after = 0, math.ceil(after - room - now - 0.001), tat
end
if after ~= before and after > now then
  redis.call('SET', KEYS[1], string.format('%.17g', after), 'PX', math.ceil((after - now) / 1000) + 1)
end
local remaining = math.floor((room - (after - now)) / interval + 0.001)
return {allowed, remaining, retry, math.ceil(after - now - 0.001)}`)

// reserve and settle keep a budget in a hash: `spent`; `slots`, sums of reservations as account has them, with the time when each
// ends, by the server's clock; and each reservation that is not settled. Arguments of reserve: name, amount, the most,
// hold, ttl; in tests also the time. Amounts have 53 bits, as numbers in Lua; HINCRBY adds to what is spent with 64.
var reserve = valkey.NewLuaScript(`
local time = redis.call('TIME')
local now = tonumber(ARGV[6] or tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local name, amount, most, hold = 'n:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local fields = redis.call('HMGET', KEYS[1], 'spent', 'slots', name)
local spent, reserved, slots = fields[1] or '0', 0, {}
for ends, sum in string.gmatch(fields[2] or '', '(%d+):(%d+)') do
  if tonumber(ends) > now then
    slots[ends] = tonumber(sum)
    reserved = reserved + tonumber(sum)
  end
end
if fields[3] then return {'1', spent, string.format('%.0f', reserved)} end
if tonumber(spent) + reserved + amount > most then return {'0', spent, string.format('%.0f', reserved)} end
if amount > 0 then
  local step = math.max(1, math.floor(hold / 8))
  local ends = string.format('%.0f', math.ceil((now + hold) / step) * step)
  slots[ends] = (slots[ends] or 0) + amount
  reserved = reserved + amount
  local text = ''
  for ends, sum in pairs(slots) do text = text .. string.format('%s:%.0f;', ends, sum) end
  redis.call('HSET', KEYS[1], 'spent', spent, 'slots', text, name, string.format('%s:%.0f', ends, amount))
  if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
end
return {'1', spent, string.format('%.0f', reserved)}`)

// settle adds first, since HINCRBY refuses a sum of more than 64 bits. Arguments: name, amount.
var settle = valkey.NewLuaScript(`
local name = 'n:' .. ARGV[1]
local held = redis.call('HGET', KEYS[1], name)
if not held then return 0 end
redis.call('HINCRBY', KEYS[1], 'spent', ARGV[2])
local ends, amount = string.match(held, '(%d+):(%d+)')
local slots = string.gsub(redis.call('HGET', KEYS[1], 'slots'), '(%d+):(%d+);', function(other, sum)
  if other ~= ends then return nil end
  local left = tonumber(sum) - tonumber(amount)
  return left > 0 and string.format('%s:%.0f;', ends, left) or ''
end)
redis.call('HSET', KEYS[1], 'slots', slots)
redis.call('HDEL', KEYS[1], name)
return 1`)

func (r *remote) key(space, kind, key string) string {
	return r.settings.GetPrefix() + space + kind + key
}

func (r *remote) get(ctx context.Context, space, key string) (value []byte, found bool, err error) {
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		value, err = c.Do(ctx, c.B().Get().Key(r.key(space, ofValues, key)).Build()).AsBytes()
		if found = err == nil; valkey.IsValkeyNil(err) {
			return nil
		}
		return err
	})
	return value, found, err
}

func (r *remote) set(ctx context.Context, space, key string, value []byte, ttl time.Duration, ifAbsent bool) (written bool, err error) {
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		command := c.B().Set().Key(r.key(space, ofValues, key)).Value(valkey.BinaryString(value))
		var completed valkey.Completed
		if ifAbsent {
			completed = command.Nx().PxMilliseconds(ttl.Milliseconds()).Build()
		} else {
			completed = command.PxMilliseconds(ttl.Milliseconds()).Build()
		}
		err := c.Do(ctx, completed).Error()
		if written = err == nil; valkey.IsValkeyNil(err) {
			return nil
		}
		return err
	})
	return written, err
}

func (r *remote) increment(ctx context.Context, space, key string, by int64, ttl time.Duration) (sum int64, err error) {
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		arguments := []string{strconv.FormatInt(by, 10), strconv.FormatInt(ttl.Milliseconds(), 10)}
		sum, err = increment.Exec(ctx, c, []string{r.key(space, ofValues, key)}, arguments).AsInt64()
		return err
	})
	return sum, err
}

func (r *remote) expire(ctx context.Context, space, key string, ttl time.Duration) (found bool, err error) {
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		found, err = c.Do(ctx, c.B().Pexpire().Key(r.key(space, ofValues, key)).Milliseconds(ttl.Milliseconds()).Build()).AsBool()
		return err
	})
	return found, err
}

func (r *remote) delete(ctx context.Context, space, key string) (found bool, err error) {
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		found, err = c.Do(ctx, c.B().Unlink().Key(r.key(space, ofValues, key)).Build()).AsBool()
		return err
	})
	return found, err
}

func (r *remote) throttle(ctx context.Context, space, key string, limit v1alpha.Limit, cost int64) (answer v1alpha.Throttled, err error) {
	burst := limit.Burst
	if burst == 0 {
		burst = limit.Rate
	}
	interval := float64(limit.Per.Microseconds()) / float64(limit.Rate)
	arguments := []string{strconv.FormatFloat(interval, 'g', -1, 64), strconv.FormatInt(burst, 10), strconv.FormatInt(cost, 10)}
	if r.fixedTime != nil {
		arguments = append(arguments, strconv.FormatInt(r.fixedTime().Microseconds(), 10))
	}
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		numbers, err := throttle.Exec(ctx, c, []string{r.key(space, ofThrottled, key)}, arguments).AsIntSlice()
		if err != nil {
			return err
		}
		if len(numbers) != 4 {
			return fmt.Errorf("expected four numbers of the script, got %d", len(numbers))
		}
		answer = v1alpha.Throttled{
			Allowed: numbers[0] == 1, Remaining: numbers[1],
			RetryAfter: time.Duration(numbers[2]) * time.Microsecond, ResetAfter: time.Duration(numbers[3]) * time.Microsecond,
		}
		return nil
	})
	return answer, err
}

func (r *remote) reserve(ctx context.Context, space, key, name string, amount int64, budget v1alpha.Budget) (answer v1alpha.Reserved, err error) {
	arguments := []string{
		name, strconv.FormatInt(amount, 10), strconv.FormatInt(budget.AtMost, 10),
		strconv.FormatInt(budget.Hold.Milliseconds(), 10), strconv.FormatInt(budget.TTL.Milliseconds(), 10),
	}
	if r.fixedTime != nil {
		arguments = append(arguments, strconv.FormatInt(r.fixedTime().Milliseconds(), 10))
	}
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		numbers, err := reserve.Exec(ctx, c, []string{r.key(space, ofBudgets, key)}, arguments).AsIntSlice()
		if err != nil {
			return err
		}
		if len(numbers) != 3 {
			return fmt.Errorf("expected three numbers of the script, got %d", len(numbers))
		}
		answer = v1alpha.Reserved{Allowed: numbers[0] == 1, Spent: numbers[1], Reserved: numbers[2]}
		return nil
	})
	return answer, err
}

func (r *remote) settle(ctx context.Context, space, key, name string, amount int64) (settled bool, err error) {
	err = r.call(ctx, func(ctx context.Context, c valkey.Client) error {
		settled, err = settle.Exec(ctx, c, []string{r.key(space, ofBudgets, key)}, []string{name, strconv.FormatInt(amount, 10)}).AsBool()
		return err
	})
	return settled, err
}

// refusal converts an error answer of the server.
func (r *remote) refusal(refused *valkey.ValkeyError) error {
	text := refused.Error()
	switch {
	case strings.Contains(text, "not an integer") || strings.Contains(text, "overflow"):
		return fmt.Errorf("%w: expected a whole number at the key, and a sum that fits 64 bits", v1alpha.ErrStoreInput)
	case strings.HasPrefix(text, "OOM"):
		return full("the store, Valkey at %s: %s", r.settings.GetAddress(), text)
	default:
		r.doubt() // NOAUTH, READONLY, LOADING, and so on
		return v1alpha.Failf(v1alpha.ClassUnavailable, "the store, Valkey at %s: %s", r.settings.GetAddress(), text)
	}
}
