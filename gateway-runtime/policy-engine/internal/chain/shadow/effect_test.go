package shadow_test

import (
	"testing"

	"gatewright.dev/policy-engine/internal/chain/shadow"
	"gatewright.dev/sdk/policy/v1alpha"
)

func headers(pairs ...string) (all v1alpha.Headers) {
	for n := 0; n < len(pairs); n += 2 {
		all = append(all, v1alpha.Header{Name: pairs[n], Value: pairs[n+1]})
	}
	return all
}

func newBody(pieces ...string) shadow.Message { return messageOf(true, pieces...) }

func messageOf(newBody bool, pieces ...string) shadow.Message {
	return shadow.NewMessage(nil, newBody, bytesOf(pieces))
}

func bytesOf(pieces []string) (all [][]byte) {
	for _, piece := range pieces {
		all = append(all, []byte(piece))
	}
	return all
}

// TestEffectsAreCompared of a message whose body was "whole".
func TestEffectsAreCompared(t *testing.T) {
	for name, c := range map[string]struct {
		effect, other shadow.Effect
		want          string
	}{
		"nothing":                        {shadow.Effect{}, shadow.Effect{}, "same"},
		"a method":                       {shadow.Effect{Method: "GET"}, shadow.Effect{Method: "PUT"}, "different"},
		"an upstream":                    {shadow.Effect{Upstream: "a"}, shadow.Effect{Upstream: "b"}, "different"},
		"a status":                       {shadow.Effect{Status: 200}, shadow.Effect{Status: 201}, "different"},
		"an answer":                      {shadow.Effect{Answered: true}, shadow.Effect{}, "different"},
		"metadata":                       {shadow.Effect{Metadata: []byte(`{"a":1}`)}, shadow.Effect{}, "different"},
		"analytics":                      {shadow.Effect{Analytics: map[string]any{"a": 1}}, shadow.Effect{Analytics: map[string]any{"a": 2}}, "different"},
		"the same analytics":             {shadow.Effect{Analytics: map[string]any{"a": 1}}, shadow.Effect{Analytics: map[string]any{"a": 1.0}}, "same"},
		"headers in another order":       {request(headers("a", "1", "b", "2")), request(headers("b", "2", "a", "1")), "same"},
		"values in another order":        {request(headers("a", "1", "a", "2")), request(headers("a", "2", "a", "1")), "different"},
		"one header more":                {request(headers("a", "1")), request(nil), "different"},
		"a response's header":            {shadow.Effect{Response: shadow.NewMessage(headers("a", "1"), false, nil)}, shadow.Effect{}, "different"},
		"the same new body":              {shadow.Effect{Request: newBody("ab", "c")}, shadow.Effect{Request: newBody("a", "bc")}, "same"},
		"another new body":               {shadow.Effect{Request: newBody("abc")}, shadow.Effect{Request: newBody("abd")}, "different"},
		"the body as it was, new":        {shadow.Effect{Request: newBody("whole")}, shadow.Effect{}, "same"},
		"the body as it was, kept":       {shadow.Effect{}, shadow.Effect{Request: newBody("whole")}, "same"},
		"a new body, and one that stays": {shadow.Effect{Request: newBody("new")}, shadow.Effect{}, "different"},
		"a body that came later":         {shadow.Effect{Request: messageOf(false, "who")}, shadow.Effect{Request: messageOf(false, "whole")}, "same"},
	} {
		t.Run(name, func(t *testing.T) {
			a, p := attachment(), newPhase(shadow.Result{After: c.effect, Body: bytesOf([]string{"who", "le"})})
			task := newRun(a).Begin(a.Bounds.Context(), p, true, "")
			task.Expect(&c.other)
			task.Release()
			p.expect(t, c.want)
		})
	}
}

func request(headers v1alpha.Headers) shadow.Effect {
	return shadow.Effect{Request: shadow.NewMessage(headers, false, nil)}
}

// TestMetadataOfTheRequestPhaseIsKept for the response phase, whose exchange has gone on meanwhile.
func TestMetadataOfTheRequestPhaseIsKept(t *testing.T) {
	for name, c := range map[string]struct{ before, after, later, want string }{
		"nothing":              {``, ``, `{"a":1}`, `{"a":1}`},
		"a new value":          {`{"a":1}`, `{"a":1,"b":2}`, `{"a":3}`, `{"a":3,"b":2}`},
		"another value":        {`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":2}`},
		"a removed value":      {`{"a":1,"b":2}`, `{"b":2}`, `{"a":1,"b":3}`, `{"b":3}`},
		"a value that is gone": {`{"a":1}`, `{"a":1}`, ``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			var own shadow.Metadata
			var metadata v1alpha.ExchangeMetadata
			own.Restore(&metadata, []byte(c.before))
			if got, err := metadata.JSON(); string(got) != c.before || err != nil {
				t.Fatalf("expected %s, got %s, %v", c.before, got, err)
			}
			own.Record([]byte(c.before), []byte(c.after))
			own.Restore(&metadata, []byte(c.later))
			if got, err := metadata.JSON(); string(got) != c.want || err != nil {
				t.Errorf("expected %s, got %s, %v", c.want, got, err)
			}
		})
	}
}
