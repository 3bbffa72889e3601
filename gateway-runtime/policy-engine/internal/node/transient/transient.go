// Package transient marks errors that may go away by themselves: the operation is retried with back-off.
package transient

import (
	"errors"
	"slices"

	"gatewright.dev/policy-engine/internal/xds"
)

type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// Mark returns err as a transient error.
func Mark(err error) error { return failure{err} }

// Is reports whether err is transient. So is an update that Envoy has left unanswered.
func Is(err error) bool {
	_, ok := errors.AsType[failure](err)
	return ok || errors.Is(err, xds.ErrNoAnswer)
}

// Join is errors.Join, whose result is transient if all of the errors are.
func Join(errs ...error) error {
	joined := errors.Join(errs...)
	switch {
	case joined == nil:
		return nil
	case slices.ContainsFunc(errs, func(err error) bool { return err != nil && !Is(err) }):
		return errors.New(joined.Error()) // drops the transient errors inside
	default:
		return failure{joined}
	}
}
