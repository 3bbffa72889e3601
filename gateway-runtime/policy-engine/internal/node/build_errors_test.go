package node

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
)

func TestEachMistakeIsReportedOnceWithItsOperations(t *testing.T) {
	var wrong buildErrors
	if wrong.err() != nil {
		t.Fatal("nothing is wrong, and still an error")
	}
	all := errors.New("policies[0]: no such model")
	wrong.add("GET /a", []error{all, errors.New("policies[1]: no such key")})
	wrong.add("GET /b", nil)
	wrong.add("GET /c", []error{all})
	wrong.add("OPTIONS /c", []error{all})
	want := "operation \"GET /a\" and 2 more: policies[0]: no such model\noperation \"GET /a\": policies[1]: no such key"
	if got := wrong.err().Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAPolicyThatFailsIsNamedByItsPlaceInTheAPIsDocument: a chain has the API's own policies before the operation's.
func TestAPolicyThatFailsIsNamedByItsPlaceInTheAPIsDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := func(operation, name, params string) *nodev1.Attachment {
			made := attachment(operation+name, params)
			made.Operation = operation
			return made
		}
		bad := `{"bad":true}`
		own := []*nodev1.Attachment{of("", "first", "{}"), of("", "second", bad)}
		message := bundleWith("a", "1", append(own, of("GET /1", "third", "{}"), of("GET /1", "fourth", "{}"), of("GET /1", "fifth", bad))...)
		message.Chains = append(message.Chains, &nodev1.Chain{Id: chainID("a2"), Operation: "GET /2", ProcessingMode: message.Chains[0].ProcessingMode,
			Attachments: append(own, of("GET /2", "sixth", bad))})

		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		b.node.apply(t.Context(), controller.Pack(&nodev1.Update{Revision: 1, Bundles: some(message)}), time.Second)
		reasons := map[string]bool{}
		for _, sent := range b.node.outbox.Drain() {
			for _, status := range sent.GetReport().GetApis() {
				reasons[status.GetReason()] = true
			}
		}
		why := ": policy tag:v1.0.0: bad is not a parameter"
		want := "spec.policies[1]" + why + "\noperation \"GET /1\": policies[2]" + why + "\noperation \"GET /2\": policies[0]" + why
		if !reasons[want] {
			t.Errorf("got %v, want %q", reasons, want)
		}
	})
}
