package engine

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// options are the command line of the engine.
type options struct {
	manifest, extProc, xds, admin, nodeID, controller, stateDir, peers string
	executors                                                          executors
	logLevel                                                           slog.Level
	drainTimeout, executorDrain                                        time.Duration
	generation                                                         uint64
	quarantineDeaths                                                   int
	bodyMemory, memoryLimit                                            int64
}

func parseOptions(arguments []string, usage io.Writer) (*options, error) {
	o := &options{executors: executors{}}
	flags := flag.NewFlagSet("policy-engine", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.manifest, "manifest", "", "manifest.json of the build `PATH`")
	flags.StringVar(&o.extProc, "ext-proc", "", "where Envoy sends requests to, `unix:PATH`")
	flags.StringVar(&o.xds, "xds", "", "where Envoy gets its configuration from, `unix:PATH`")
	flags.StringVar(&o.admin, "admin", "", "where /healthz, /ready, /stats, /chains and /executors are answered, `unix:PATH`")
	flags.StringVar(&o.nodeID, "node-id", "", "this node's `ID`, also in its Envoy's bootstrap")
	flags.StringVar(&o.controller, "controller", "", "the controller's `ADDRESS`, unix:PATH or host:port; none: live by the last good state")
	flags.StringVar(&o.stateDir, "state-dir", "", "`DIR` for the last good state")
	flags.StringVar(&o.peers, "peers", "", "`FILE` in which a supervisor names the pids that may connect, peers.json; none: any process of this user")
	flags.Var(o.executors, "executor", "executor processes of a group, `GROUP=unix:PATH[,unix:PATH…]`; may be repeated")
	flags.Var(leastLevel{&o.logLevel}, "log-level", "`LEVEL`: debug, info, warning or error (default info)")
	flags.DurationVar(&o.drainTimeout, "drain-timeout", 10*time.Second, "how long exchanges under way may take to end when the engine is stopped")
	flags.Uint64Var(&o.generation, "generation", 1, "`NUMBER` of the generation that the executors and the manifest are of")
	flags.DurationVar(&o.executorDrain, "executor-drain", 30*time.Second, "how long executor processes that are replaced may go on with what they have")
	flags.IntVar(&o.quarantineDeaths, "quarantine-deaths", 3, "how many executor processes within 30 s may die while a policy runs; then it is not executed for a while")
	flags.Int64Var(&o.bodyMemory, "body-memory", defaultBodies, "`BYTES` that the bodies held in all exchanges together may take; what does not fit is answered 503")
	flags.Int64Var(&o.memoryLimit, "memory-limit", 0, "`BYTES` from which on memory is collected more eagerly, as by GOMEMLIMIT, which goes before it; 0: none")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("expected flags only, got %q", flags.Args())
	}
	return o, o.check()
}

func (o *options) check() error {
	var errs []error
	for name, value := range map[string]string{"manifest": o.manifest, "node-id": o.nodeID, "state-dir": o.stateDir} {
		if value == "" {
			errs = append(errs, fmt.Errorf("--%s: expected a value, got none", name))
		}
	}
	for name, value := range map[string]string{"ext-proc": o.extProc, "xds": o.xds, "admin": o.admin} {
		if _, err := socketPath(value); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", name, err))
		}
	}
	if o.bodyMemory < 1 {
		errs = append(errs, fmt.Errorf("--body-memory: expected a number of bytes from 1, got %d", o.bodyMemory))
	}
	if o.memoryLimit < 0 {
		errs = append(errs, fmt.Errorf("--memory-limit: expected a number of bytes, or 0 for none, got %d", o.memoryLimit))
	}
	return errors.Join(errs...)
}

// executors are executor addresses by group.
type executors map[string][]string

func (e executors) String() string { return "" }

func (e executors) Set(text string) error {
	group, addresses, ok := strings.Cut(text, "=")
	if !ok || group == "" {
		return fmt.Errorf("expected GROUP=unix:PATH[,unix:PATH…], got %q", text)
	}
	for address := range strings.SplitSeq(addresses, ",") {
		if _, err := socketPath(address); err != nil {
			return err
		}
		e[group] = append(e[group], address)
	}
	return nil
}
