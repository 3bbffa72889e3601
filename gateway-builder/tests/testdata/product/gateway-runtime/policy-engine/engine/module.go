//go:build inenvoy

package engine

import "C"

var described string

// Module keeps what each registered policy says of itself.
func Module(register func(*Registry)) { described = describe(register) }

// Described returns it to a caller in C.
//
//export Described
func Described() *C.char { return C.CString(described) }
