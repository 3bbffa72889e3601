// Command simulation is many nodes in one process, to measure a controller: each keeps its streams by the engine's own client,
// and reports what it is sent as applied, at once. It has no Envoy and no policies, and builds no chain.
//
// It prints a line of JSON for each update of a node, `python -m bench nodes` reads them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
)

// options are those of the command line.
type options struct {
	count       int
	prefix      string
	address     string
	manifest    string
	credentials controller.Credentials
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "simulation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	options, err := parse(arguments) //nolint:contextcheck // it reads files
	if err != nil {
		return err
	}
	policies, err := readPolicies(options.manifest)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	report := &printer{encoder: json.NewEncoder(os.Stdout)}
	var nodes sync.WaitGroup
	for number := range options.count {
		id := fmt.Sprintf("%s-%03d", options.prefix, number)
		// As of pods: each has an address of its own, and the port that is the same for all.
		admin := fmt.Sprintf("127.1.%d.%d:9901", number/250, number%250+1)
		node := newNode(id, admin, policies, report.print)
		client := node.newClient(options.address, options.credentials, log.With("node", id))
		nodes.Go(func() { client.Run(ctx) })
		nodes.Go(func() { node.run(ctx) })
	}
	nodes.Wait()
	return nil
}

func parse(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("simulation", flag.ContinueOnError)
	flags.IntVar(&o.count, "count", 100, "`NUMBER` of nodes")
	flags.StringVar(&o.prefix, "prefix", "simulated", "`NAME` that the ids of nodes begin with")
	flags.StringVar(&o.address, "controller", "", "the controller's `ADDRESS`, host:port")
	flags.StringVar(&o.manifest, "manifest", "", "manifest.json of the build whose policies the nodes have, `PATH`")
	flags.StringVar(&o.credentials.Authority, "controller-authority", "", "`FILE` (PEM) of who signs the controller's certificate")
	flags.StringVar(&o.credentials.Token, "controller-token", "", "`FILE` with the token of the nodes")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if o.address == "" || o.manifest == "" {
		return o, errors.New("expected --controller and --manifest, got one or none of them")
	}
	return o, o.credentials.Check()
}

// readPolicies returns what a build's manifest says that its nodes can run.
func readPolicies(path string) ([]*nodev1.PolicyRef, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Policies []struct{ Name, Version, DefinitionDigest string }
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("%s: expected the manifest of a build: %w", path, err)
	}
	var policies []*nodev1.PolicyRef
	for _, policy := range manifest.Policies {
		policies = append(policies, &nodev1.PolicyRef{Name: policy.Name, Version: policy.Version, DefinitionDigest: policy.DefinitionDigest})
	}
	return policies, nil
}

// printer writes lines of JSON. Its methods may be called from any goroutine.
type printer struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (p *printer) print(line line) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = p.encoder.Encode(line) // a reader that is gone has ended the measurement
}
