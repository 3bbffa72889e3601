package main

import (
	"context"
	"net"
)

// dialer opens a connection to what is measured, as net.Dialer's DialContext does. Tests have one that stays in memory.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

var overTheNetwork dialer = new(net.Dialer).DialContext
