package engine

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"gatewright.dev/policy-engine/internal/metrics"
)

// commandLine is the result of reading the program's arguments.
type commandLine struct {
	options     Options
	logLevel    slog.Level
	memoryLimit int64 // bytes
}

// parseCommandLine reads the arguments. An error lists all mistakes in them; for --help it is flag.ErrHelp, once usage
// has been written.
func parseCommandLine(arguments []string, usage io.Writer) (*commandLine, error) {
	line := &commandLine{options: DefaultOptions()}
	flags := line.flags()
	flags.SetOutput(io.Discard) // mistakes are logged
	var errs []error
	for left := arguments; ; {
		err := flags.Parse(left)
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(usage)
			flags.Usage()
			return nil, err
		}
		before := len(left)
		if left = flags.Args(); err == nil && len(left) > 0 {
			err, left = fmt.Errorf("expected flags only, got %q", left[0]), left[1:]
		} else if err != nil && len(left) == before { // Parse leaves malformed flags, such as ---x, in place
			left = left[1:]
		}
		if err == nil {
			break
		}
		errs = append(errs, err)
	}
	errs = append(errs, line.options.mistakes()...)
	if line.memoryLimit < 0 {
		errs = append(errs, fmt.Errorf("--memory-limit: expected a number of bytes, or 0 for none, got %d", line.memoryLimit))
	}
	return line, errors.Join(errs...)
}

func (line *commandLine) flags() *flag.FlagSet {
	o := &line.options
	o.Executors, o.Labels = map[string][]string{}, map[string]string{}
	flags := flag.NewFlagSet("policy-engine", flag.ContinueOnError)
	flags.StringVar(&o.Manifest, "manifest", "", "manifest.json of the build `PATH`")
	flags.StringVar(&o.ExtProc, "ext-proc", "", "socket to which Envoy sends requests, `unix:PATH`")
	flags.StringVar(&o.XDS, "xds", "", "socket from which Envoy gets its configuration, `unix:PATH`")
	flags.StringVar(&o.Admin, "admin", "", "socket that answers /healthz, /ready, /stats, /chains and /executors, `unix:PATH`")
	flags.BoolVar(&o.InEnvoy, "in-envoy", false, "the engine runs in Envoy's process: routes whose policies want no body are sent to its filter there, not to --ext-proc")
	flags.StringVar(&o.NodeID, "node-id", "", "this node's `ID`, also in its Envoy's bootstrap")
	flags.Var(labels(o.Labels), "node-label", "a label of this node, by which APIs choose nodes, `KEY=VALUE`; may be repeated")
	flags.StringVar(&o.Controller, "controller", "", "the controller's `ADDRESS`, unix:PATH or host:port; none: run on the last good state")
	flags.StringVar(&o.ControllerCredentials.Authority, "controller-authority", "", "`FILE` (PEM) of who signs the controller's certificate; none: the stream to the controller is not encrypted")
	flags.StringVar(&o.ControllerCredentials.Certificate, "controller-certificate", "", "`FILE` (PEM) with the certificate that this node shows the controller")
	flags.StringVar(&o.ControllerCredentials.Key, "controller-key", "", "`FILE` (PEM) with its key")
	flags.StringVar(&o.ControllerCredentials.Token, "controller-token", "", "`FILE` with the token that this node sends the controller")
	flags.StringVar(&o.Gateway, "gateway", "", "`FILE` with a serialized Gateway that applies until the controller sends another; none: no listeners")
	flags.BoolVar(&o.KeepGateway, "keep-gateway", false, "apply --gateway's file even if the controller sends another Gateway")
	flags.StringVar(&o.StateDir, "state-dir", "", "`DIR` for the last good state")
	flags.Var(places{&o.States.Places}, "state-from", "`FILE` with the places of signed states to start from if --state-dir has none: a file or an http(s) URL in each line, tried in order")
	flags.StringVar(&o.States.Authority, "state-authority", "", "`FILE` (PEM) with the public keys whose signature of a state counts")
	flags.DurationVar(&o.States.Oldest, "state-oldest", 0, "how old a state may be; 0s: any age")
	flags.StringVar(&o.States.Token, "state-token", "", "`FILE` with the token for https URLs of other nodes and controllers in --state-from, and of those who may ask at --state-listen")
	flags.StringVar(&o.StateListen.Address, "state-listen", "", "`HOST:PORT` where other nodes get the controller's signed state by TLS; none: nowhere")
	flags.StringVar(&o.StateListen.Certificate, "state-listen-certificate", "", "`FILE` (PEM) with the certificate of --state-listen")
	flags.StringVar(&o.StateListen.Key, "state-listen-key", "", "`FILE` (PEM) with its key")
	flags.StringVar(&o.States.TLSAuthority, "state-tls-authority", "", "`FILE` (PEM) of who signs the certificates of https URLs in --state-from; none: the system's authorities")
	flags.StringVar(&o.Attach.Address, "attach-listen", "", "`HOST:PORT` where Envoys that are not this node's own send requests to APIs with attachTo, by ext_proc; none: nowhere")
	flags.StringVar(&o.Attach.Certificate, "attach-certificate", "", "`FILE` (PEM) with the certificate of --attach-listen; none: connections are not encrypted")
	flags.StringVar(&o.Attach.Key, "attach-key", "", "`FILE` (PEM) with its key")
	flags.StringVar(&o.Attach.Authority, "attach-authority", "", "`FILE` (PEM) of who signs the certificates of those Envoys; none: they need none")
	flags.BoolVar(&o.Attach.Clear, "attach-clear", false, "--attach-listen may take connections of other machines without a certificate")
	flags.StringVar(&o.Secrets, "secrets", "", "`DIR` of the files of secrets that parameters name; none: there are no secrets")
	flags.StringVar(&o.Peers, "peers", "", "`FILE` in which a supervisor lists the pids that may connect, peers.json; none: any process of this user")
	flags.Var(executors(o.Executors), "executor", "executor processes of a group, `GROUP=unix:PATH[,unix:PATH…]`; may be repeated")
	flags.Var(metricsSources{&o.MetricsSources}, "metrics-source", "another process of the node whose metrics /metrics includes, `NAME=unix:PATH[:/path]`; may be repeated")
	flags.Var(levelFlag{&line.logLevel}, "log-level", "`LEVEL`: debug, info, warning or error (default info)")
	flags.DurationVar(&o.DrainTimeout, "drain-timeout", o.DrainTimeout, "how long exchanges under way may take to end when the engine is stopped")
	flags.Uint64Var(&o.Generation, "generation", o.Generation, "generation `NUMBER` of the executors and the manifest")
	flags.DurationVar(&o.ExecutorDrain, "executor-drain", o.ExecutorDrain, "how long replaced executor processes may finish their exchanges")
	flags.IntVar(&o.QuarantineDeaths, "quarantine-deaths", o.QuarantineDeaths, "deaths of executor processes within 30 s while a policy runs, after which it is put under quarantine")
	flags.Int64Var(&o.BodyMemory, "body-memory", o.BodyMemory, "`BYTES` for the bodies held in all exchanges together; a request that does not fit is answered 503")
	flags.DurationVar(&o.RequestLimit, "request-limit", o.RequestLimit, "how long a request's body may take to arrive if a policy needs it whole, before it is answered 408; 0s: no limit")
	flags.Int64Var(&line.memoryLimit, "memory-limit", 0, "soft memory limit in `BYTES`, as by GOMEMLIMIT, which takes precedence; 0: none")
	return flags
}

// metricsSources is a flag.Value: processes with metrics.
type metricsSources struct{ all *[]metrics.Source }

func (m metricsSources) String() string { return "" }

func (m metricsSources) Set(text string) error {
	source, err := metrics.ParseSource(text)
	if err != nil {
		return err
	}
	for _, known := range *m.all {
		if known.Name == source.Name {
			return fmt.Errorf("expected one source %s, got another", source.Name)
		}
	}
	*m.all = append(*m.all, source)
	return nil
}

// labels is a flag.Value: labels of the node.
type labels map[string]string

func (l labels) String() string { return "" }

func (l labels) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" || value == "" {
		return fmt.Errorf("expected KEY=VALUE, got %q", text)
	}
	if earlier, ok := l[key]; ok && earlier != value {
		return fmt.Errorf("expected one value of the label %s, got %s and %s", key, earlier, value)
	}
	l[key] = value
	return nil
}

// places is a flag.Value: a file of places of states. They are in a file because a URL may have a secret in it, and the arguments
// of a process can be read by any other.
type places struct{ all *[]string }

func (p places) String() string { return "" }

func (p places) Set(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	*p.all = strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	return nil
}

// executors is a flag.Value: executor addresses by group.
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
