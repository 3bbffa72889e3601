package engine

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"gatewright.dev/policy-engine/internal/condition"
)

// checkConditions is the argument by which a controller asks for the verdict of its nodes on conditions.
const checkConditions = "check-conditions"

// Main runs the engine until SIGTERM or SIGINT and exits: 0 after an orderly stop, 2 for a wrong command line, else 1.
// register is called once, before anything runs. A second signal ends the process at once.
//
// With the single argument check-conditions it does not run an engine, but writes the mistakes in the conditions on
// stdin.
//
// Only Main changes the global state of a process: signals, umask, the garbage collector, the loggers of slog and
// grpc-go.
func Main(register func(*Registry)) {
	if slices.Equal(os.Args[1:], []string{checkConditions}) {
		if err := condition.Check(os.Stdin, os.Stdout); err != nil {
			newLogger(os.Stderr, slog.LevelInfo).Error("conditions cannot be checked", "error", err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	go func() {
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stderr, register, setProcess))
}

// setProcess sets the global state of the process.
func setProcess(log *slog.Logger, line *commandLine) {
	slog.SetDefault(log)
	logGRPC(log)
	syscall.Umask(0o077)
	keepPrivate(log)
	setMemory(line.memoryLimit)
}

// keepPrivate keeps other processes of this user from tracing this one, and from reading its /proc/PID/environ, mem and
// fd (prctl(2)).
func keepPrivate(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("other processes of this user can read this one", "error", err.Error())
	}
}

// run is the program without its global state, which the function set changes before the engine starts. It returns the
// exit code.
func run(ctx context.Context, arguments []string, stderr io.Writer, register func(*Registry), set func(*slog.Logger, *commandLine)) int {
	line, err := parseCommandLine(arguments, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		newLogger(stderr, slog.LevelInfo).Error("wrong command line", "error", err.Error())
		return 2
	}
	level := &slog.LevelVar{}
	level.Set(line.logLevel)
	log := newLogger(stderr, level)
	set(log, line)
	line.options.Register, line.options.Log, line.options.LogLevel = register, log, level
	if err := runEngine(ctx, line.options); err != nil {
		log.Error("the engine stops", "error", err.Error())
		return 1
	}
	log.Info("stopped")
	return 0
}

// runEngine runs an engine, and tunes the garbage collector until it ends.
func runEngine(ctx context.Context, options Options) error {
	engine, err := Start(ctx, options)
	if err != nil {
		if errors.Is(err, ErrStopped) {
			return nil
		}
		return err
	}
	return engine.waitTuned(ctx)
}

// waitTuned is Wait, and tunes the garbage collector meanwhile.
func (e *Engine) waitTuned(ctx context.Context) error {
	tuning, cancel := context.WithCancel(context.WithoutCancel(ctx)) // also while it drains
	tuned := make(chan struct{})
	go func() {
		defer close(tuned)
		tuneGarbageCollector(tuning, e.bodies)
	}()
	err := e.Wait()
	cancel()
	<-tuned
	return err
}
