package chain_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

// TestShadowsChangeNoMessage: with any shadow attachments in a chain, upstream and client get the same messages as
// without.
func TestShadowsChangeNoMessage(t *testing.T) {
	property.Check(t, func(rt *rapid.T) {
		count := rapid.IntRange(0, 4).Draw(rt, "policies")
		kinds, letters := make([]string, count), make([]string, count)
		for n := range count {
			kinds[n] = rapid.SampledFrom([]string{"marks", "body", "answers", "fails", "streams", "goes on"}).Draw(rt, "kind")
			letters[n] = rapid.SampledFrom([]string{"h", "hH", "b", "bB", "B", "H"}).Draw(rt, "letters")
		}
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "bc", "def"}), 0, 3).Draw(rt, "request")
		answer := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "yz"}), 0, 3).Draw(rt, "response")
		applied := func(x *transcript) (all []*chain.Instance) {
			for n := range count {
				all = append(all, x.drawn(fmt.Sprint("p", n), kinds[n], letters[n]))
			}
			return all
		}
		exchange := func() *transcript {
			x := get()
			if len(pieces) > 0 {
				x = post(pieces...)
			}
			if len(answer) > 0 {
				x.answers(answer...)
			}
			return x.inTurn() // when an answer comes, the pieces on their way are not determined
		}
		without := exchange()
		var wantErr error
		if count > 0 {
			wantErr = without.run(t, applied(without)...)
		} else {
			without.passesBy()
		}
		with := exchange()
		instances := applied(with)
		for n := range rapid.IntRange(1, 3).Draw(rt, "shadows") {
			at := rapid.IntRange(0, len(instances)).Draw(rt, "at")
			name := rapid.SampledFrom([]string{"p0", "p1", "s"}).Draw(rt, "name")
			beside := shadow(fmt.Sprintf("%s:v%d.0.0", name, n+2), shadowDoes(rapid.SampledFrom([]string{"marks", "body", "answers", "fails"}).Draw(rt, "does")),
				rapid.SampledFrom([]string{"h", "hH", "b", "bB", "B", "H"}).Draw(rt, "shadow letters"), limit(int64(rapid.IntRange(1, 9).Draw(rt, "limit"))))
			instances = append(instances[:at:at], append([]*chain.Instance{beside}, instances[at:]...)...)
		}
		err := with.run(t, instances...)
		for _, note := range with.looks.waitForShadows(t) {
			if note.shadow.Execution.Shadow == chain.NotShadow && note.turn.Phase == chain.PhaseRequest {
				rt.Errorf("expected an outcome, got none of %v", note)
			}
		}
		if (err == nil) != (wantErr == nil) {
			rt.Errorf("expected %v, got %v", wantErr, err)
		}
		for direction, name := range []string{"request", "response"} {
			if direction == 1 && with.went[1] == "" || without.went[1] == "" {
				continue // the response was not read
			}
			if with.went[direction] != without.went[direction] {
				rt.Errorf("%s: expected %q, got %q", name, without.went[direction], with.went[direction])
			}
		}
	})
}

// passesBy records an exchange without a chain.
func (t *transcript) passesBy() {
	t.went = [2]string{"send request body ", "send response body "}
	for direction, pieces := range [...][]string{t.pieces, t.responsePieces} {
		for _, piece := range pieces {
			t.went[direction] += piece
		}
	}
}

func shadowDoes(what string) does {
	switch what {
	case "marks":
		return marksAs("shadow")
	case "body":
		return does{
			request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return requestBody("shadow"), nil },
			response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
				return responseBody("shadow"), nil
			},
		}
	case "answers":
		answer := &v1alpha.ImmediateResponse{StatusCode: 418, Body: []byte("shadow")}
		return does{
			request:  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return answer, nil },
			response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return answer, nil },
		}
	}
	failed := errors.New("shadow")
	return does{
		request:  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return nil, failed },
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, failed },
	}
}

// drawn is an applied policy of a random kind.
func (t *transcript) drawn(name, kind, letters string) *chain.Instance {
	switch kind {
	case "marks":
		return t.marks(name, letters)
	case "streams":
		return t.streams("inline", name, "s", wraps)
	}
	d := shadowDoes(map[string]string{"body": "body", "answers": "answers", "fails": "fails", "goes on": "fails"}[kind])
	d.name = name
	if kind == "goes on" {
		return t.policy(&d, letters, goesOn)
	}
	return t.policy(&d, letters)
}
