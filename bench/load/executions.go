package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// executionsCommand prints what generateCommand prints, about executions instead of requests.
func executionsCommand(ctx context.Context, arguments []string, out io.Writer) error {
	plan, err := parseExecutionsPlan(arguments)
	if err != nil {
		return err
	}
	return execute(ctx, plan, out)
}

// execute drives the plan's load: each process has a stream, and its share of those in flight and of the rate.
func execute(ctx context.Context, p executionsPlan, out io.Writer) error {
	lanes := make([]*lane, len(p.sockets))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, socket := range p.sockets {
		one, err := openLane(ctx, p, socket)
		if err != nil {
			return err
		}
		defer one.close()
		lanes[i] = one
	}
	start := time.Now()
	span := span{begin: start.Add(p.warmup), end: start.Add(p.warmup + p.duration)}
	var running sync.WaitGroup
	errs := make([]error, len(lanes))
	for i, one := range lanes {
		running.Go(func() { errs[i] = one.run(ctx, span, i) })
	}
	announced := errors.Join(announce(ctx, out, "begin", span.begin), announce(ctx, out, "end", span.end))
	running.Wait()
	if err := errors.Join(append(errs, announced)...); err != nil {
		return err
	}
	tallies := make([]tally, len(lanes))
	for i, one := range lanes {
		tallies[i] = one.tally
	}
	if err := json.NewEncoder(out).Encode(merge(tallies).result(p.duration)); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
