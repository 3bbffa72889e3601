package store

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// step is one of conformance/store.json.
type step struct {
	Do, Key, Value  string
	TTL, Seconds    float64
	IfAbsent        bool
	By, Rate, Burst int64
	Per             float64
	Cost            int64
	Name            string
	Amount, AtMost  int64
	Hold            float64
	Gives           json.RawMessage
	Error           string
}

func seconds(number float64) time.Duration {
	return time.Duration(number*float64(time.Second) + 0.5)
}

func conformance(t *testing.T) (cases []struct {
	Name  string
	Steps []step
}) {
	t.Helper()
	text, err := os.ReadFile("../../../../conformance/store.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// conforms runs the table; each case has keys of its own, by the API's name. advance moves the store's clock.
func conforms(t *testing.T, s *Store, advance func(t *testing.T, space string, by time.Duration)) {
	for number, testCase := range conformance(t) {
		t.Run(testCase.Name, func(t *testing.T) {
			api := t.Name() + strconv.Itoa(number) + strconv.FormatInt(time.Now().UnixNano(), 36)
			policy := s.Of("conforms", api)
			for i, step := range testCase.Steps {
				if step.Do == "advance" {
					advance(t, space("conforms", api), seconds(step.Seconds))
					continue
				}
				got, err := step.run(t, policy)
				if step.Error != "" {
					if !errors.Is(err, v1alpha.ErrStoreInput) {
						t.Fatalf("step %d, %s: expected an error about the input, got %v, %v", i, step.Do, got, err)
					}
					continue
				}
				if text, _ := json.Marshal(got); err != nil || !sameJSON(t, text, step.Gives) {
					t.Fatalf("step %d, %s %.20s: expected %s, got %s, %v", i, step.Do, step.Key, step.Gives, text, err)
				}
			}
		})
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var left, right any
	if err := errors.Join(json.Unmarshal(a, &left), json.Unmarshal(b, &right)); err != nil {
		t.Fatal(err)
	}
	first, _ := json.Marshal(left)
	second, _ := json.Marshal(right)
	return string(first) == string(second)
}

func (s step) run(t *testing.T, policy v1alpha.Store) (any, error) {
	ctx := t.Context()
	switch s.Do {
	case "get":
		value, found, err := policy.Get(ctx, s.Key)
		if !found {
			return nil, err
		}
		return string(value), err
	case "set":
		return policy.Set(ctx, s.Key, []byte(s.Value), seconds(s.TTL), s.IfAbsent)
	case "increment":
		sum, err := policy.Increment(ctx, s.Key, s.By, seconds(s.TTL))
		return sum, err
	case "expire":
		return policy.Expire(ctx, s.Key, seconds(s.TTL))
	case "delete":
		return policy.Delete(ctx, s.Key)
	case "throttle":
		answer, err := policy.Throttle(ctx, s.Key, v1alpha.Limit{Rate: s.Rate, Per: seconds(s.Per), Burst: s.Burst}, s.Cost)
		return map[string]any{"allowed": answer.Allowed, "remaining": answer.Remaining,
			"retryAfter": answer.RetryAfter.Seconds(), "resetAfter": answer.ResetAfter.Seconds()}, err
	case "reserve":
		budget := v1alpha.Budget{AtMost: s.AtMost, Hold: seconds(s.Hold), TTL: seconds(s.TTL)}
		answer, err := policy.Reserve(ctx, s.Key, s.Name, s.Amount, budget)
		return map[string]any{"allowed": answer.Allowed, "spent": answer.Spent, "reserved": answer.Reserved}, err
	case "settle":
		return policy.Settle(ctx, s.Key, s.Name, s.Amount)
	default:
		t.Fatalf("expected an operation, got %q", s.Do)
		return nil, nil
	}
}

func TestMemoryConforms(t *testing.T) {
	s, clock := storeInMemory(t, 1<<20)
	conforms(t, s, func(_ *testing.T, _ string, by time.Duration) { clock.advance(by) })
}
