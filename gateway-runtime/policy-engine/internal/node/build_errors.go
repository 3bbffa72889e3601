package node

import (
	"fmt"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/transient"
)

// buildErrors are the mistakes in the chains of one API: each reason once, with the operations that it concerns; with
// the operation "" where it concerns the API itself.
type buildErrors []buildError

type buildError struct {
	reason     error
	operations []string
}

func (c *buildErrors) add(operation string, errs []error) {
	for _, err := range errs {
		i := slices.IndexFunc(*c, func(known buildError) bool { return known.reason.Error() == err.Error() })
		if i < 0 {
			i = len(*c)
			*c = append(*c, buildError{reason: err})
		}
		(*c)[i].operations = append((*c)[i].operations, operation)
	}
}

// err returns nil if there are no mistakes, otherwise one line for each.
func (c buildErrors) err() error {
	errs := make([]error, len(c))
	for i, mistake := range c {
		if mistake.operations[0] == "" {
			errs[i] = mistake.reason
			continue
		}
		suffix := ""
		if more := len(mistake.operations) - 1; more > 0 {
			suffix = fmt.Sprintf(" and %d more", more)
		}
		errs[i] = fmt.Errorf("operation %q%s: %w", mistake.operations[0], suffix, mistake.reason)
	}
	return transient.Join(errs...)
}

// placeOf returns the path of a chain's attachment in the API's document: in spec, or in its operation.
func placeOf(attachments []*nodev1.Attachment, at int) string {
	level, place := attachments[at].GetOperation(), 0
	for _, before := range attachments[:at] {
		if before.GetOperation() == level {
			place++
		}
	}
	if level == "" {
		return fmt.Sprintf("spec.policies[%d]", place)
	}
	return fmt.Sprintf("policies[%d]", place)
}
