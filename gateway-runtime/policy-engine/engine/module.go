//go:build inenvoy

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/dynmodule"
	"gatewright.dev/policy-engine/internal/dynmodule/binding"
)

// Module makes this library a dynamic module of Envoy's: Envoy starts the engine with the arguments that its bootstrap has,
// a JSON list of those of the program, before it asks for its configuration, and ends it with itself. register is called
// once, before anything runs. The main package of the library calls Module in init.
//
// The process stays Envoy's: the engine handles no signals. If it ends by itself, so does the process.
func Module(register func(*Registry)) { binding.Serve(&guest{register: register}) }

// guest is the engine in Envoy's process.
type guest struct {
	register func(*Registry)
	stop     context.CancelFunc
	stopping atomic.Bool
	ended    chan struct{}
}

// Start starts the engine, and returns once it serves.
func (g *guest) Start(arguments []byte, workers int) (*dynmodule.Module, error) {
	var list []string
	if err := json.Unmarshal(arguments, &list); err != nil {
		return nil, fmt.Errorf("extension_config of the bootstrap: expected a JSON list of the engine's arguments, got %q: %w", arguments, err)
	}
	line, err := parseCommandLine(list, os.Stderr)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, errors.New("extension_config of the bootstrap: expected no --help")
		}
		return nil, err
	}
	level := &slog.LevelVar{}
	level.Set(line.logLevel)
	log := newLogger(os.Stderr, level)
	g.setProcess(log, line, workers)
	line.options.Register, line.options.Log, line.options.LogLevel = g.register, log, level
	line.options.DrainTimeout = 0 // Envoy has drained when it ends the engine
	ctx, stop := context.WithCancel(context.Background())
	engine, err := Start(ctx, line.options)
	if err != nil {
		stop()
		return nil, err
	}
	g.stop, g.ended = stop, make(chan struct{})
	go g.wait(ctx, engine, log)
	return dynmodule.New(engine.exchanges, binding.Envoy{}, log), nil
}

// setProcess sets the part of the process's global state that the Go runtime alone has. A worker of Envoy's holds a
// processor of the runtime's while it is in Go, and the runtime takes it back late: so there are some for them beside those
// of goroutines.
func (*guest) setProcess(log *slog.Logger, line *commandLine, workers int) {
	slog.SetDefault(log)
	logGRPC(log)
	keepPrivate(log)
	setMemory(line.memoryLimit)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + workers)
	}
}

// wait waits for the engine's end. An engine that ends by itself ends the process: what it is asked for would fail.
func (g *guest) wait(ctx context.Context, engine *Engine, log *slog.Logger) {
	err := engine.waitTuned(ctx)
	close(g.ended)
	if g.stopping.Load() {
		return
	}
	log.Error("the engine stops, and Envoy with it", "error", fmt.Sprint(err))
	os.Exit(1)
}

// Stop stops the engine.
func (g *guest) Stop() {
	g.stopping.Store(true)
	g.stop()
	<-g.ended
}
