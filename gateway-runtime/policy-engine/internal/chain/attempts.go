package chain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gatewright.dev/sdk/policy/v1alpha"
)

// AnsweredBy is the header of a response by which a front end says which of several upstreams has answered.
const AnsweredBy = "x-gatewright-upstream"

const (
	maxAttempts     = 8
	maxAttemptBytes = 16 << 20 // of all bodies that the attempts of one request have for themselves
)

// checkAttempts checks the attempts that a policy has named.
func (c *Chain) checkAttempts(m *v1alpha.UpstreamRequestModifications) error {
	switch {
	case len(m.Attempts) == 0:
		return nil
	case !c.spec.Failover:
		return fmt.Errorf("attempts: expected none, since %s has no `failover`, got %d; set `failover: true` in the API, or choose one upstream", c.spec.Operation, len(m.Attempts))
	case m.Upstream != nil:
		return errors.New("attempts: expected either upstream or attempts, got both")
	case len(m.Attempts) > maxAttempts:
		return fmt.Errorf("attempts: expected at most %d, got %d", maxAttempts, len(m.Attempts))
	}
	names, size := make([]string, 0, len(m.Attempts)), 0
	for n, attempt := range m.Attempts {
		if err := c.checkAttempt(&attempt, names); err != nil {
			return fmt.Errorf("attempts[%d]: %w", n, err)
		}
		names = append(names, attempt.Upstream)
		if attempt.Body != nil {
			size += len(*attempt.Body)
		}
	}
	if size > maxAttemptBytes {
		return fmt.Errorf("attempts: expected bodies of at most %d bytes in all, got %d", maxAttemptBytes, size)
	}
	return nil
}

func (c *Chain) checkAttempt(attempt *v1alpha.Attempt, earlier []string) error {
	if !slices.Contains(c.spec.Upstreams, attempt.Upstream) {
		return fmt.Errorf("upstream: expected one of the API's (%s), got %q", strings.Join(c.spec.Upstreams, ", "), attempt.Upstream)
	}
	if slices.Contains(earlier, attempt.Upstream) {
		return fmt.Errorf("upstream: expected each once, got %q twice", attempt.Upstream)
	}
	if err := checkHeaders(v1alpha.HeaderModifications{Set: attempt.Set}, true); err != nil {
		return err
	}
	for _, header := range attempt.Set {
		if !utf8.ValidString(header.Value) {
			return fmt.Errorf("header %q: expected UTF-8, got other bytes", header.Name)
		}
	}
	if reason := exceededHeaderLimit(attempt.Set, 0, maxPolicyLines, maxPolicyBytes); reason != "" {
		return errors.New(reason)
	}
	if attempt.Path != nil {
		if err := checkPath(*attempt.Path, "/"); err != nil {
			return err
		}
	}
	if attempt.Body != nil && !utf8.Valid(*attempt.Body) {
		return errors.New("body: expected UTF-8, got other bytes")
	}
	return nil
}

// chooseUpstream applies a policy's choice: the last policy that names an upstream or attempts decides.
func (x *exchange) chooseUpstream(m *v1alpha.UpstreamRequestModifications) {
	switch {
	case m.Upstream != nil:
		x.upstream, x.attempts = *m.Upstream, nil
	case len(m.Attempts) > 0:
		x.upstream, x.attempts = m.Attempts[0].Upstream, m.Attempts
	}
}

// settleAttempts takes the header out of the response that says which upstream has answered. An answer of the proxy's own
// has none.
func (x *exchange) settleAttempts() {
	if x.attempts == nil {
		return
	}
	if name := x.response.headers.view.Get(AnsweredBy); slices.Contains(x.chain.spec.Upstreams, name) {
		x.upstream = name
	}
	x.response.headers.remove(AnsweredBy)
}
