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

// executionsCommand prints the same as generateCommand, for executions instead of requests.
func executionsCommand(ctx context.Context, arguments []string, out io.Writer) error {
	plan, err := parseExecutionsPlan(arguments)
	if err != nil {
		return err
	}
	return execute(ctx, plan, out)
}

// execute drives the plan's load: each process has one stream, and its share of the rate and of the executions in flight.
func execute(ctx context.Context, p executionsPlan, out io.Writer) error {
	lanes := make([]*lane, len(p.sockets))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, socket := range p.sockets {
		l, err := openLane(ctx, p, socket)
		if err != nil {
			return err
		}
		defer l.close()
		lanes[i] = l
	}
	start := time.Now()
	span := span{begin: start.Add(p.warmup), end: start.Add(p.warmup + p.duration)}
	var running sync.WaitGroup
	errs := make([]error, len(lanes))
	for i, l := range lanes {
		running.Go(func() { errs[i] = l.run(ctx, span, i) })
	}
	announced := errors.Join(announce(ctx, out, "begin", span.begin), announce(ctx, out, "end", span.end))
	running.Wait()
	if err := errors.Join(append(errs, announced)...); err != nil {
		return err
	}
	tallies := make([]tally, len(lanes))
	for i, l := range lanes {
		tallies[i] = l.tally
	}
	if err := json.NewEncoder(out).Encode(merge(tallies).result(p.duration)); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
