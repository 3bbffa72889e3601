// Command load is both ends of a measurement: `load upstream` answers requests and checks their headers, `load generate`
// sends requests and checks the answers. Both cost little, so that the gateway between them is measured. `load mix` sends
// several kinds of requests at once and reports the outcome of each. `load streams` keeps event streams open. `load provider`
// streams answers of a language model, and `load completions` asks for them. `load executions` drives executors without a
// gateway.
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

const usage = "usage: load upstream|generate|mix|streams|provider|completions|executions [flags]; `load generate -h` lists them"

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
	case "provider":
		return providerCommand(ctx, arguments[1:], os.Stdout)
	case "completions":
		return completionsCommand(ctx, arguments[1:], os.Stdout)
	case "executions":
		return executionsCommand(ctx, arguments[1:], os.Stdout)
	}
	return fmt.Errorf("unknown command %q: %s", arguments[0], usage)
}

// upstreamCommand serves until the context ends. It prints "listening ADDRESS" once it accepts connections.
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

// generateCommand prints "begin" and "end" when the measurement begins and ends, so that another program can measure the same
// span, and then its result as one line of JSON.
func generateCommand(ctx context.Context, arguments []string) error {
	plan, err := parsePlan(arguments)
	if err != nil {
		return err
	}
	return generate(ctx, plan, os.Stdout)
}
