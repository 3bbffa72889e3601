//go:build inenvoy

package binding

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall -Wextra -Werror -fvisibility=default
#cgo LDFLAGS: -Wl,--unresolved-symbols=ignore-all
#include <stdlib.h>
#include "module.h"
*/
import "C"

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/dynmodule"
)

// Host is what Envoy starts with, and ends.
type Host interface {
	// Start starts the engine with its arguments as a JSON list, in a process with that many workers, and returns the module of
	// its streams.
	Start(arguments []byte, workers int) (*dynmodule.Module, error)
	// Stop stops the engine. Envoy ends when it returns.
	Stop()
}

var (
	host   Host
	module atomic.Pointer[dynmodule.Module] // nil: the engine has not started
)

// Serve has Envoy start host. It is called once, before Envoy asks for anything.
func Serve(h Host) {
	host = h
	for _, name := range []struct {
		at   *C.text
		text string
	}{
		{&C.names.ext_proc_filter, envoynames.ExtProcFilter}, {&C.names.route_name, envoynames.RouteNameAttribute},
		{&C.names.client_address, envoynames.ClientAddressAttribute}, {&C.names.peer, envoynames.PeerAttribute},
		{&C.names.peer_state, envoynames.PeerFilter}, {&C.names.trace_space, envoynames.TraceNamespace},
		{&C.names.trace_token, envoynames.TraceTokenKey},
	} {
		*name.at = C.text{at: C.CString(name.text), length: C.size_t(len(name.text))} // as long as the process lives
	}
}

// Envoy implements dynmodule.Envoy.
type Envoy struct{}

// NewScheduler makes a scheduler of the filter.
func (Envoy) NewScheduler(filter uintptr) uintptr {
	return uintptr(C.envoy_dynamic_module_callback_http_filter_scheduler_new(pointer(filter)))
}

// Commit has Envoy call the filter's hook on its worker.
func (Envoy) Commit(scheduler uintptr) {
	C.envoy_dynamic_module_callback_http_filter_scheduler_commit(pointer(scheduler), 0)
}

// DeleteScheduler frees a scheduler.
func (Envoy) DeleteScheduler(scheduler uintptr) {
	C.envoy_dynamic_module_callback_http_filter_scheduler_delete(pointer(scheduler))
}

// pointer is an address of Envoy's, which the garbage collector knows nothing of.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// ---------------------------------------------------------------- calls of the hooks

//export gatewrightStart
func gatewrightStart(arguments *C.char, length C.size_t, workers C.uint32_t) (message *C.char) {
	defer func() {
		if cause := recover(); cause != nil {
			message = C.CString(fmt.Sprintf("the engine cannot start: panic: %v\n%s", cause, debug.Stack()))
		}
	}()
	started, err := host.Start(C.GoBytes(unsafe.Pointer(arguments), C.int(length)), int(workers))
	if err != nil {
		return C.CString("the engine cannot start: " + err.Error())
	}
	module.Store(started)
	return nil
}

//export gatewrightStop
func gatewrightStop() {
	defer logPanic()
	if module.Load() != nil {
		host.Stop()
	}
}

//export gatewrightRequest
func gatewrightRequest(c *C.call) { head(c, (*dynmodule.Module).Request) }

//export gatewrightResponse
func gatewrightResponse(c *C.call) { head(c, (*dynmodule.Module).Response) }

//export gatewrightScheduled
func gatewrightScheduled(c *C.call) {
	serve(c, func(m *dynmodule.Module, room []byte) dynmodule.Result {
		return m.Scheduled(dynmodule.ID(c.stream), room)
	})
}

func head(c *C.call, call func(m *dynmodule.Module, filter uintptr, id dynmodule.ID, message, room []byte) dynmodule.Result) {
	serve(c, func(m *dynmodule.Module, room []byte) dynmodule.Result {
		message := C.GoBytes(unsafe.Pointer(c.message), C.int(c.length)) // the exchange keeps it
		return call(m, uintptr(c.filter), dynmodule.ID(c.stream), message, room)
	})
}

// serve makes a call of the module for a hook. A panic fails the stream: it must not reach Envoy.
func serve(c *C.call, call func(m *dynmodule.Module, room []byte) dynmodule.Result) {
	c.ended, c.failed = true, true
	defer logPanic()
	m := module.Load()
	if m == nil {
		return
	}
	room := unsafe.Slice((*byte)(unsafe.Pointer(c.answers)), c.capacity)
	result := call(m, room[:0])
	if size := len(result.Answers); size > len(room) {
		c.answers = (*C.char)(C.CBytes(result.Answers))
	}
	c.written, c.stream = C.size_t(len(result.Answers)), C.uint64_t(result.ID)
	c.ended, c.failed = C.bool(result.Ended), C.bool(result.Failed)
}

//export gatewrightDestroy
func gatewrightDestroy(stream C.uint64_t, sameThread C.bool) {
	defer logPanic()
	if m := module.Load(); m != nil {
		m.Destroy(dynmodule.ID(stream), bool(sameThread))
	}
}

// logPanic ends a panic. Only a deferred call of it does.
func logPanic() {
	if cause := recover(); cause != nil {
		slog.Error("a hook of Envoy's panicked", "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
}
