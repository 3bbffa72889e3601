// Command testmodule is a dynamic module of Envoy's with chains for tests, without an engine. It is empty without the build
// tag inenvoy.
package main

func main() {}
