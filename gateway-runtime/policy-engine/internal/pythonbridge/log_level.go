package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

const setLogLevelTimeout = 2 * time.Second

// SetLogLevel sets the log level (debug, info, warning, error) of every executor process: in connected ones before it
// returns, in others as soon as they connect. An error names the processes that have not answered; they get the level
// when they connect again.
func (g *Groups) SetLogLevel(ctx context.Context, level string) error {
	g.options.logLevel.Store(&level)
	var errs []error
	for _, name := range g.names() {
		for _, process := range g.group(name).allProcesses() {
			if s := process.sender.session.Load(); s != nil {
				errs = append(errs, s.setLogLevel(ctx))
			}
		}
	}
	return errors.Join(errs...)
}

// setLogLevel sends the process the level that was set; if none was, the process keeps its own.
func (s *session) setLogLevel(ctx context.Context) error {
	level := s.process.options.logLevel.Load()
	if level == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, setLogLevelTimeout)
	defer cancel()
	if _, err := s.client.SetLogLevel(ctx, &executorv1.SetLogLevelRequest{Level: *level}); err != nil {
		return fmt.Errorf("the executor process at %s has not changed its log level: %w", s.process.address, err)
	}
	return nil
}

// repeatLogLevel sends the level to a process that has just connected.
func (s *session) repeatLogLevel(ctx context.Context) {
	if err := s.setLogLevel(ctx); err != nil && ctx.Err() == nil {
		s.process.log.Warn("log level not changed", "error", err.Error())
	}
}
