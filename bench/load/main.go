// Command load is both ends of a measurement: `load upstream` answers requests and asserts their headers, `load generate`
// sends them and asserts the answers. Both are meant to cost little beside what stands between them. `load mix` sends
// several kinds of requests at once and tells what became of each. `load streams` keeps event streams open. `load executions` speaks to executors without a gateway.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = "usage: load upstream|generate|mix|streams|executions [flags]; `load generate -h` lists them"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New(usage)
	}
	switch arguments[0] {
	case "upstream":
		return upstreamCommand(ctx, arguments[1:])
	case "generate":
		return generateCommand(ctx, arguments[1:])
	case "mix":
		return mixCommand(ctx, arguments[1:])
	case "streams":
		return streamsCommand(ctx, arguments[1:], os.Stdout)
	case "executions":
		return executionsCommand(ctx, arguments[1:], os.Stdout)
	}
	return fmt.Errorf("unknown command %q: %s", arguments[0], usage)
}

// upstreamCommand serves until the context ends; "listening ADDRESS" on standard output says that it does.
func upstreamCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("upstream", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	expect := flags.String("expect", "", `JSON file: path prefix → headers each request must carry, {"/go": {"X-Go": "1"}}`)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	expectations, err := readExpectations(*expect)
	if err != nil {
		return err
	}
	return serveUpstream(ctx, *listen, expectations, os.Stdout)
}

// generateCommand prints "begin" and "end" around what it measures, so that others can measure the same span, and then its
// result as one line of JSON.
func generateCommand(ctx context.Context, arguments []string) error {
	plan, err := parsePlan(arguments)
	if err != nil {
		return err
	}
	return generate(ctx, plan, os.Stdout)
}
