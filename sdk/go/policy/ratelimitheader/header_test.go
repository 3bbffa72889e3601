package ratelimitheader_test

import (
	"encoding/json"
	"testing"
	"time"

	"gatewright.dev/sdk/policy/ratelimitheader"
)

func TestItemsAreFormatted(t *testing.T) {
	policy := ratelimitheader.AppendPolicy(nil, "second", 5, time.Second)
	policy = ratelimitheader.AppendPolicy(policy, "day", 1000, 24*time.Hour)
	if want := `"second";q=5;w=1, "day";q=1000;w=86400`; string(policy) != want {
		t.Errorf("expected %s, got %s", want, policy)
	}
	standing := ratelimitheader.AppendStanding(nil, "second", 0, 1*time.Millisecond)
	standing = ratelimitheader.AppendStanding(standing, "day", 999, 1001*time.Millisecond)
	if want := `"second";r=0;t=1, "day";r=999;t=2`; string(standing) != want {
		t.Errorf("expected %s, whole seconds that are not too few, got %s", want, standing)
	}
}

func TestARefusalNamesTheExceededLimit(t *testing.T) {
	answer := ratelimitheader.Exceeded([]string{"a", "b"}, 0, ratelimitheader.Headers("p", "s"))
	var problem struct {
		Status   int      `json:"status"`
		Violated []string `json:"violated-policies"`
	}
	if err := json.Unmarshal(answer.Body, &problem); err != nil || problem.Status != answer.StatusCode || len(problem.Violated) != 2 {
		t.Errorf("expected a problem with status and both names, got %s, %v", answer.Body, err)
	}
	if len(answer.Headers) != 4 || answer.Headers[1].Name != "retry-after" || answer.Headers[1].Value != "1" {
		t.Errorf("expected Retry-After of a second at least, and the headers, got %v", answer.Headers)
	}
	if away := ratelimitheader.Unavailable(); !json.Valid(away.Body) || away.StatusCode != 503 {
		t.Errorf("expected 503 with a problem, got %+v", away)
	}
}
