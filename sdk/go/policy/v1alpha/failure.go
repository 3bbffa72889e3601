package v1alpha

import (
	"errors"
	"fmt"
)

// FailureClass is the reason why an execution failed. The same words are in python_executor.proto, in Python's
// sdk.policy.FailureClass, in onError and in metric labels.
type FailureClass string

// The failure classes.
const (
	ClassTimeout      FailureClass = "timeout"
	ClassOverloaded   FailureClass = "overloaded"  // refused at a queue, never started
	ClassUnavailable  FailureClass = "unavailable" // no process accepts it, or something that the policy needs does not answer
	ClassCrashed      FailureClass = "crashed"     // sent, no answer; never tried again
	ClassException    FailureClass = "exception"
	ClassBadAction    FailureClass = "badAction"
	ClassBodyTooLarge FailureClass = "bodyTooLarge"
	ClassBadBody      FailureClass = "badBody" // a wanted body cannot be decoded, must not be encoded, or is only a part
)

// FailureClasses lists all classes.
var FailureClasses = []FailureClass{
	ClassTimeout, ClassOverloaded, ClassUnavailable, ClassCrashed, ClassException, ClassBadAction, ClassBodyTooLarge,
	ClassBadBody,
}

// Failure is an execution's failure. Its text is for the log, never for the client.
type Failure struct {
	Class   FailureClass
	Message string
	Logged  bool  // the log has it already, with more detail than Message
	Cause   error // the original error, for the log line alone: recordings and spans have Message; nil if Message is complete

	File string // the place of the fault in the policy, if known: the file under its author's name
	Line int
}

// Failf makes a Failure.
func Failf(class FailureClass, format string, args ...any) *Failure {
	return &Failure{Class: class, Message: fmt.Sprintf(format, args...)}
}

func (f *Failure) Error() string { return string(f.Class) + ": " + f.Message }

// AsFailure returns the Failure that err is or wraps; any other error becomes ClassException.
func AsFailure(err error) *Failure {
	if failure, ok := errors.AsType[*Failure](err); ok && failure != nil {
		return failure
	}
	return Failf(ClassException, "%v", err)
}
