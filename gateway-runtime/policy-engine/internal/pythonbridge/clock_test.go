package pythonbridge

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/test/bufconn"
)

// withFakeClock runs a test whose time passes only while all its goroutines wait. Its executors are reached in memory,
// since a goroutine that waits for a socket may be woken from outside.
func withFakeClock(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	shared := answerChannels
	defer func() { answerChannels, memory = shared, nil }()
	synctest.Test(t, func(t *testing.T) {
		answerChannels = newAnswerChannels() // channels belong to one clock
		memory = &memoryNetwork{listeners: map[string]*bufconn.Listener{}}
		test(t)
	})
}

// memory has the executors' listeners of a test with a fake clock; nil in other tests.
var memory *memoryNetwork

type memoryNetwork struct {
	mu        sync.Mutex
	addresses int
	listeners map[string]*bufconn.Listener
}

func (n *memoryNetwork) newAddress() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses++
	return fmt.Sprintf("passthrough:///%d", n.addresses)
}

func (n *memoryNetwork) listen(address string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[address] = bufconn.Listen(1 << 20)
	return n.listeners[address]
}

func (n *memoryNetwork) dial(ctx context.Context, target string) (net.Conn, error) {
	n.mu.Lock()
	listener := n.listeners["passthrough:///"+target]
	n.mu.Unlock()
	if listener == nil {
		return nil, fmt.Errorf("no listener at %s", target)
	}
	return listener.DialContext(ctx)
}
