// Package binding is Envoy's ABI of dynamic modules for the engine: hooks in C that Envoy calls, and the Go functions that
// these call. It has no code without the build tag inenvoy, which needs a C compiler.
package binding
