//go:build inenvoy

package engine

import (
	"log/slog"
	"os"
	"runtime"

	"gatewright.dev/policy-engine/internal/dynmodule/binding"
)

// Module makes this library a dynamic module of Envoy's: Envoy starts the engine with the arguments that its bootstrap has,
// a JSON list of those of the program, before it asks for its configuration, and ends it with itself. register is called
// once, before anything runs. The main package of the library calls Module in init.
//
// The process stays Envoy's: the engine handles no signals. If it ends by itself, so does the process.
func Module(register func(*Registry)) {
	binding.Serve(&guest{register: register, envoy: binding.Envoy{}, stderr: os.Stderr, set: setGuestProcess, exit: func() { os.Exit(1) }})
}

// setGuestProcess sets the part of the process's global state that the Go runtime alone has. A worker of Envoy's holds a
// processor of the runtime's while it is in Go, and the runtime takes it back late: so there are some for them beside those
// of goroutines.
func setGuestProcess(log *slog.Logger, line *commandLine, workers int) {
	slog.SetDefault(log)
	logGRPC(log)
	keepPrivate(log)
	setMemory(line.memoryLimit)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + workers)
	}
}
