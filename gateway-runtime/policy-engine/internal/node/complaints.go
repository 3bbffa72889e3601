package node

import (
	"errors"
	"fmt"
	"slices"
)

// complaints are what is wrong with the chains of one API: each reason once, with the operations that it concerns. An
// attachment of the API itself is wrong in all of them.
type complaints []complaint

type complaint struct {
	reason     error
	operations []string
}

func (c *complaints) add(operation string, errs []error) {
	for _, err := range errs {
		at := slices.IndexFunc(*c, func(known complaint) bool { return known.reason.Error() == err.Error() })
		if at < 0 {
			at = len(*c)
			*c = append(*c, complaint{reason: err})
		}
		(*c)[at].operations = append((*c)[at].operations, operation)
	}
}

// err is nil where there is no complaint, else one line for each. It may pass where each of them may.
func (c complaints) err() error {
	if len(c) == 0 {
		return nil
	}
	errs := make([]error, len(c))
	for i, one := range c {
		more := ""
		if others := len(one.operations) - 1; others > 0 {
			more = fmt.Sprintf(" and %d more", others)
		}
		errs[i] = fmt.Errorf("operation %q%s: %w", one.operations[0], more, one.reason)
	}
	joined := errors.Join(errs...)
	if slices.ContainsFunc(c, func(one complaint) bool { return !mayPass(one.reason) }) {
		return errors.New(joined.Error()) // without those in it that may
	}
	return passing{joined}
}
