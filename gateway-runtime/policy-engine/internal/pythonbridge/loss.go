package pythonbridge

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Reasons for the end of a stream; its error is or wraps one of these.
var (
	// errStreamEnded is an orderly end: the process has answered all executions that it has acknowledged, and has not
	// started any other.
	errStreamEnded = errors.New("the executor process ended the stream")
	errSilent      = errors.New("the executor process answers no health check")
	errStalled     = errors.New("the executor process is stalled")
)

// lostExecution is the failure of an execution in a process whose stream has ended. Its message says what happened to
// the process; the cause, mostly in gRPC's words, is for the log.
func lostExecution(cause error) *v1alpha.Failure {
	return &v1alpha.Failure{Class: v1alpha.ClassCrashed, Message: describeLoss(cause) + " while it ran", Cause: cause}
}

func describeLoss(cause error) string {
	switch {
	case errors.Is(cause, errStreamEnded):
		return "the executor process stopped"
	case errors.Is(cause, errSilent):
		return "the executor process answered no health check"
	case errors.Is(cause, errStalled):
		return "all workers of the executor process hung"
	case errors.Is(cause, context.Canceled):
		return "the engine closed its stream to the executor process"
	case processEnded(cause):
		return "the executor process ended"
	}
	return "the stream to the executor process broke"
}

// processEnded reports whether the connection is gone, and the engine has not closed it.
func processEnded(cause error) bool { return status.Code(cause) == codes.Unavailable }
