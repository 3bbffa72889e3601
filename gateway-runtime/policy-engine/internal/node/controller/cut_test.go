package controller_test

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
)

// network passes connections on until it is cut: then both ends stay open, and nothing arrives any more.
type network struct{ cut atomic.Bool }

// listen passes connections at from on to the socket to.
func (n *network) listen(t *testing.T, from, to string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{}).DialContext(t.Context(), "unix", to)
			if err != nil {
				_ = near.Close()
				return
			}
			go n.pass(near, far)
			go n.pass(far, near)
		}
	}()
}

func (n *network) pass(from, to net.Conn) {
	defer func() { _ = to.Close() }()
	_, _ = io.Copy(n.onto(to), from)
}

func (n *network) onto(connection net.Conn) io.Writer { return &lossy{connection, n} }

// lossy drops what is written once the network is cut.
type lossy struct {
	net.Conn
	network *network
}

func (l *lossy) Write(content []byte) (int, error) {
	if l.network.cut.Load() {
		return len(content), nil
	}
	return l.Conn.Write(content)
}

// The connection is idle: without a keepalive the client would wait for updates on it for ever.
func TestAConnectionThatIsCutOffIsNoticedThoughItStaysOpen(t *testing.T) {
	t.Parallel() // it takes 15 s: gRPC allows no ping after less than 10
	from, to := controllertest.SocketPath(t), controllertest.SocketPath(t)
	c, _ := controllertest.Start(t, to)
	var between network
	between.listen(t, from, to)
	client := run(t, from, func(*controller.Client) {})
	stream := c.Accept(t)
	stream.ReceiveHello()
	stream.Send(removal(1, "a"))
	await.Until(t, "the client is connected", client.Connected)
	between.cut.Store(true)
	await.Until(t, "the client notices that it is cut off", func() bool { return !client.Connected() })
}
