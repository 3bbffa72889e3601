package recording_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"gatewright.dev/policy-engine/internal/recording"
)

// TestTheExplainedCasesAreRecordings: the cases of conformance/exchanges.json are recordings of this format, and cover
// each way in which an exchange can be answered and end, so that programs that explain recordings are tested with all.
func TestTheExplainedCasesAreRecordings(t *testing.T) {
	text, err := os.ReadFile("../../../../conformance/exchanges.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name     string
		Recorded json.RawMessage
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{"completed": true, "cancelled": true, "failed": true}
	for _, by := range []recording.AnsweredBy{recording.ByUpstream, recording.ByPolicy, recording.ByFailure, recording.ByGateway, recording.ByProxy} {
		missing[string(by)] = true
	}
	for _, c := range cases {
		var e recording.Exchange
		decoder := json.NewDecoder(bytes.NewReader(c.Recorded))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&e); err != nil {
			t.Errorf("%s: expected a recording: %v", c.Name, err)
		}
		delete(missing, e.Outcome)
		delete(missing, string(e.AnsweredBy))
	}
	if len(missing) > 0 {
		t.Errorf("expected a case for each way in which an exchange is answered or ends, got none for %v", missing)
	}
}
