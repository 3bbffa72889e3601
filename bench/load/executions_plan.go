package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// executionsPlan is one measurement of executors without a gateway: the message or frame that is sent, the number of
// executions in flight, and the text that each answer must contain.
type executionsPlan struct {
	dial     dialer   // nil: over the network
	sockets  []string // unix:PATH of each process; executions go to the one with the fewest in flight
	method   string   // /package.Service/Method, a bidi stream
	message  []byte   // an execution without its id
	idField  protowire.Number
	framed   bool   // frames of python_executor.proto; else one message for each execution
	first    []byte // framed: the frame that configures the chain that the executions name
	expect   []byte // each answer must contain it
	inFlight int    // over all processes
	rate     float64
	warmup   time.Duration
	duration time.Duration
	grace    time.Duration
}

func parseExecutionsPlan(arguments []string) (executionsPlan, error) {
	p := executionsPlan{}
	flags := flag.NewFlagSet("executions", flag.ContinueOnError)
	flags.Func("socket", "unix:PATH of an executor; may be repeated", func(text string) error {
		p.sockets = append(p.sockets, text)
		return nil
	})
	flags.StringVar(&p.method, "method", "", "/package.Service/Method, a bidi stream")
	message := flags.String("message", "", "file with an execution, serialized, without its id")
	idField := flags.Int("id-field", 1, "the number of the id's field, a varint, in execution and answer")
	first := flags.String("configure", "", "file with the first frame, serialized; then executions travel in frames")
	expect := flags.String("expect", "", "a text that each answer must contain")
	flags.IntVar(&p.inFlight, "in-flight", 1, "executions in flight")
	flags.Float64Var(&p.rate, "rate", 0, "executions per second (an open loop, bounded by those in flight); 0: a closed loop")
	flags.DurationVar(&p.warmup, "warmup", time.Second, "load before the measurement begins")
	flags.DurationVar(&p.duration, "duration", 4*time.Second, "length of the measurement")
	flags.DurationVar(&p.grace, "grace", 5*time.Second, "how long answers may take after the end")
	if err := flags.Parse(arguments); err != nil {
		return executionsPlan{}, err
	}
	p.idField, p.expect = protowire.Number(*idField), []byte(*expect)
	return p.complete(*message, *first)
}

func (p executionsPlan) complete(message, first string) (executionsPlan, error) {
	if len(p.sockets) == 0 || p.method == "" || p.inFlight < len(p.sockets) || p.duration <= 0 || p.rate < 0 {
		return p, fmt.Errorf("expected -socket, -method, -in-flight ≥ %d, -duration > 0, -rate ≥ 0; got %q, %q, %d, %s, %g",
			len(p.sockets), p.sockets, p.method, p.inFlight, p.duration, p.rate)
	}
	var errs [2]error
	p.message, errs[0] = os.ReadFile(message)
	if p.framed = first != ""; p.framed {
		p.first, errs[1] = os.ReadFile(first)
	}
	return p, errors.Join(errs[:]...)
}
