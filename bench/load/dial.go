package main

import (
	"context"
	"net"
)

// dialer opens a connection to the gateway or executor, like net.Dialer.DialContext. Tests have one that stays in memory.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

var overTheNetwork dialer = new(net.Dialer).DialContext
