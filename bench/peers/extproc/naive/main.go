// Command naive is a first, simple policy engine: it turns each message of Envoy into one self-describing message to the
// executor, and the executor's answer into one to Envoy.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"gatewright.dev/bench/extproc/server"
)

func main() {
	listen := flag.String("listen", "", "path of the Unix socket to listen on")
	executor := flag.String("executor", "", "unix:PATH of the naive executor")
	flag.Parse()
	if err := run(*listen, *executor); err != nil {
		fmt.Fprintln(os.Stderr, "naive:", err)
		os.Exit(1)
	}
}

func run(listen, executor string) error {
	bridge, err := connect(context.Background(), executor)
	if err != nil {
		return fmt.Errorf("-executor: %w", err)
	}
	return server.Serve(listen, func() server.Exchange { return &exchange{bridge: bridge} })
}
