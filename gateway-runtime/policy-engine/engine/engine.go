// Package engine is the policy engine's program. A build's main.go calls Main with the build's registry.
package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/policy-engine/internal/grpcstream"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/peers"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/xds"
)

// Version is the engine's version.
const Version = "0.1.0"

// Main runs the engine until SIGTERM or SIGINT and exits: 0 after an orderly stop, 2 for a wrong command line, else 1.
// register is called once, before anything runs. A second signal ends the process at once.
func Main(register func(*Registry)) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	go func() {
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stderr, register, ownProcess))
}

// ownProcess sets what a process has but once.
func ownProcess(log *slog.Logger, options *options) {
	slog.SetDefault(log)
	logGRPC(log)
	syscall.Umask(0o077)
	keepPrivate(log)
	setMemory(options.memoryLimit)
}

// keepPrivate lets no other process of this user trace this one or read its /proc/PID/environ, mem and fd (prctl(2)).
func keepPrivate(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("other processes of this user can read this one", "error", err.Error())
	}
}

func run(ctx context.Context, arguments []string, stderr io.Writer, register func(*Registry), own func(*slog.Logger, *options)) int {
	options, err := parseOptions(arguments, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		newLogger(stderr, slog.LevelInfo).Error("wrong command line", "error", err.Error())
		return 2
	}
	log := newLogger(stderr, options.logLevel)
	own(log, options)
	if err := serve(ctx, options, log, register); err != nil {
		log.Error("the engine stops", "error", err.Error())
		return 1
	}
	log.Info("stopped")
	return 0
}

// engine is what runs between start and stop.
type engine struct {
	options  *options
	log      *slog.Logger
	groups   *pythonbridge.Groups
	registry *Registry
	deploy   sync.Mutex // one Deploy at a time; it guards manifest
	manifest *manifest
	table    *chain.Table
	bodies   *chain.Budget
	node     *node.Node
	xds      *xds.Server
	extProc  *extproc.Server
	ready    atomic.Bool
}

// serve starts everything in the order that loses nothing, waits, and stops it in reverse.
func serve(ctx context.Context, options *options, log *slog.Logger, register func(*Registry)) error {
	e, err := build(options, log, register) //nolint:contextcheck // executors outlive the stop signal: exchanges under way need them
	if err != nil {
		return err
	}
	defer e.close()
	servers, err := e.listen(ctx)
	if err != nil {
		return err
	}
	defer servers.close()
	failed := make(chan error, 3)
	servers.start(servers.admin, failed)
	// Before Envoy can connect: one that has outlived the last engine must not be served an empty state.
	unhold := context.AfterFunc(ctx, e.groups.Close) // a stop must not wait for chains that are being built
	e.node.Restore(ctx)
	if !unhold() {
		return nil
	}
	servers.start(servers.extProc, failed)
	servers.start(servers.xds, failed)
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	go tendMemory(running, e.bodies)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.node.Run(running)
	}()
	e.ready.Store(true)
	log.Info("ready", "pid", os.Getpid())
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	e.ready.Store(false)
	cancel()
	servers.drain(options.drainTimeout, log)
	e.groups.Close() // no exchange needs them now, and a chain that is being built must not wait for them
	<-stopped
	return err
}

func build(options *options, log *slog.Logger, register func(*Registry)) (*engine, error) {
	manifest, err := readManifest(options.manifest)
	if err != nil {
		return nil, err
	}
	bridge := pythonbridge.Options{Generation: options.generation, Drain: options.executorDrain,
		QuarantineDeaths: options.quarantineDeaths}
	executors := options.executors
	if !manifest.hasPython() {
		executors = nil
	}
	e := &engine{options: options, log: log, table: &chain.Table{}, manifest: manifest, bodies: chain.NewBudget(options.bodyMemory),
		groups: pythonbridge.NewGroups(executors, bridge, log)}
	if err := e.complete(register); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *engine) complete(register func(*Registry)) error {
	e.registry = newRegistry(e.groups)
	register(e.registry)
	policies, err := e.registry.policies(e.manifest)
	if err != nil {
		return err
	}
	if e.xds, err = xds.NewServer(e.options.nodeID, e.log); err != nil {
		return err
	}
	e.extProc = extproc.NewServer(e.table)
	e.node, err = node.New(node.Options{
		NodeID: e.options.nodeID, EngineVersion: Version, Controller: e.options.controller, StateDir: e.options.stateDir,
		Policies: policies, Table: e.table, Bodies: e.bodies, Envoy: e.xds, Resolver: net.DefaultResolver, Log: e.log,
	})
	return err
}

// close ends what chains need, then the chains: no exchange is under way.
func (e *engine) close() {
	e.groups.Close()
	if e.node != nil {
		e.node.Close()
	}
}

// servers are the engine's sockets and what serves them.
type servers struct {
	extProc, xds, admin endpoint
	extProcServer       *grpcstream.Server
	xdsServer           *grpc.Server
	adminServer         *http.Server
}

type endpoint struct {
	listener net.Listener
	serve    func(net.Listener) error
}

func (e *engine) listen(ctx context.Context) (*servers, error) {
	s := &servers{extProcServer: e.extProc.GRPC(), xdsServer: grpc.NewServer()}
	e.xds.Register(s.xdsServer)
	s.adminServer = admin.Server(admin.Sources{Ready: e.ready.Load, Node: e.node.Stats, XDS: e.xds.Stats,
		ExtProc: e.extProc.Stats, Bodies: e.bodies.Stats, Executors: e.groups.Stats, Generation: e.groups.Generation, Quarantined: e.groups.Quarantined, Deploy: e.Deploy, Table: e.table})
	s.extProc.serve, s.xds.serve, s.admin.serve = s.extProcServer.Serve, s.xdsServer.Serve, s.adminServer.Serve
	envoy := peers.Rule{File: e.options.peers, Roles: []string{peers.Envoy}}
	people := peers.Rule{File: e.options.peers, Roles: []string{peers.Supervisor}, Outside: true}
	for _, socket := range []struct {
		flag, address string
		endpoint      *endpoint
		rule          peers.Rule
	}{
		{"admin", e.options.admin, &s.admin, people}, {"ext-proc", e.options.extProc, &s.extProc, envoy},
		{"xds", e.options.xds, &s.xds, envoy},
	} {
		listener, err := listen(ctx, socket.address, socket.rule, e.log)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("--%s: %w", socket.flag, err)
		}
		socket.endpoint.listener = listener
	}
	return s, nil
}

func (s *servers) start(at endpoint, failed chan<- error) {
	go func() {
		if err := at.serve(at.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve %s: %w", at.listener.Addr(), err)
		}
	}()
}

// drain takes no new exchange and lets those under way end, for at most limit.
func (s *servers) drain(limit time.Duration, log *slog.Logger) {
	timer := time.AfterFunc(limit, func() {
		log.Warn("exchanges are still under way at the end of the drain timeout; they are cut off", "timeout", limit.String())
		s.extProcServer.Stop()
	})
	defer timer.Stop()
	s.extProcServer.GracefulStop()
}

func (s *servers) close() {
	s.extProcServer.Stop()
	s.xdsServer.Stop()
	_ = s.adminServer.Close()
	for _, at := range []endpoint{s.extProc, s.xds, s.admin} {
		if at.listener != nil {
			_ = at.listener.Close() // also where nothing serves yet: its file goes too
		}
	}
}
