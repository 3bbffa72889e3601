package node

import (
	"errors"
	"fmt"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// buildErrors are what is wrong with the chains of one API: each reason once, with the operations that it concerns; with
// the operation "" where it concerns the API itself.
type buildErrors []buildError

type buildError struct {
	reason     error
	operations []string
}

func (c *buildErrors) add(operation string, errs []error) {
	for _, err := range errs {
		at := slices.IndexFunc(*c, func(known buildError) bool { return known.reason.Error() == err.Error() })
		if at < 0 {
			at = len(*c)
			*c = append(*c, buildError{reason: err})
		}
		(*c)[at].operations = append((*c)[at].operations, operation)
	}
}

// err is nil where there is none, else one line for each.
func (c buildErrors) err() error {
	errs := make([]error, len(c))
	for i, one := range c {
		if one.operations[0] == "" {
			errs[i] = one.reason
			continue
		}
		more := ""
		if others := len(one.operations) - 1; others > 0 {
			more = fmt.Sprintf(" and %d more", others)
		}
		errs[i] = fmt.Errorf("operation %q%s: %w", one.operations[0], more, one.reason)
	}
	return join(errs...)
}

// placeOf is where an attachment of a chain stands in the API's document: in spec, or in its operation.
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

// join is errors.Join, of which the result may pass where each of the errors may.
func join(errs ...error) error {
	joined := errors.Join(errs...)
	switch {
	case joined == nil:
		return nil
	case slices.ContainsFunc(errs, func(err error) bool { return err != nil && !isTransient(err) }):
		return errors.New(joined.Error()) // without those in it that may
	default:
		return transientError{joined}
	}
}
