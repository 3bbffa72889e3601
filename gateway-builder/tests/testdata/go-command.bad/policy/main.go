// Command sample.
package main

func main() {}
