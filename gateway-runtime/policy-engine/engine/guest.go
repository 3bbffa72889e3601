package engine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/dynmodule"
)

// guestDrain limits the time for exchanges to end when Envoy ends the engine, and waits: Envoy has drained by then.
const guestDrain = time.Second

// guest is the engine in Envoy's process.
type guest struct {
	register func(*Registry)
	envoy    dynmodule.Envoy
	stderr   io.Writer
	set      func(log *slog.Logger, line *commandLine, workers int) // sets the process's global state
	exit     func()                                                 // ends the process, when the engine has ended by itself

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
	line, err := parseCommandLine(list, g.stderr)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, errors.New("extension_config of the bootstrap: expected no --help")
		}
		return nil, err
	}
	level := &slog.LevelVar{}
	level.Set(line.logLevel)
	log := newLogger(g.stderr, level)
	g.set(log, line, workers)
	line.options.Register, line.options.Log, line.options.LogLevel = g.register, log, level
	line.options.DrainTimeout = min(line.options.DrainTimeout, guestDrain)
	ctx, stop := context.WithCancel(context.Background())
	engine, err := Start(ctx, line.options)
	if err != nil {
		stop()
		return nil, err
	}
	g.stop, g.ended = stop, make(chan struct{})
	go g.wait(ctx, engine, log)
	return dynmodule.New(engine.exchanges, g.envoy, log), nil
}

// wait waits for the engine's end. An engine that ends by itself ends the process: what it is asked for would fail.
func (g *guest) wait(ctx context.Context, engine *Engine, log *slog.Logger) {
	err := engine.waitTuned(ctx)
	close(g.ended)
	if g.stopping.Load() {
		return
	}
	log.Error("the engine stops, and Envoy with it", "error", fmt.Sprint(err))
	g.exit()
}

// Stop stops the engine.
func (g *guest) Stop() {
	g.stopping.Store(true)
	g.stop()
	<-g.ended
}
