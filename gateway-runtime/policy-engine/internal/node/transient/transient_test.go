package transient_test

import (
	"errors"
	"fmt"
	"testing"

	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
)

func TestJoinedErrorsAreTransientIfAllOfThemAre(t *testing.T) {
	away, mistake := transient.Mark(errors.New("away")), errors.New("mistake")
	for _, c := range []struct {
		errs []error
		text string
		want bool
	}{
		{[]error{nil, away, nil}, "away", true},
		{[]error{away, fmt.Errorf("again: %w", away)}, "away\nagain: away", true},
		{[]error{away, fmt.Errorf("clusters: %w", xds.ErrNoAnswer)}, "away\nclusters: " + xds.ErrNoAnswer.Error(), true},
		{[]error{away, mistake}, "away\nmistake", false},
		{[]error{mistake}, "mistake", false},
	} {
		if err := transient.Join(c.errs...); err.Error() != c.text || transient.Is(err) != c.want {
			t.Errorf("expected %q, transient: %t, got %q, transient: %t", c.text, c.want, err, transient.Is(err))
		}
	}
	if err := transient.Join(nil, nil); err != nil {
		t.Errorf("expected no error, got %v", err)
	}
}
