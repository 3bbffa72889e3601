package peers

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

var patience = time.Second // a process may be newer than the file that names it

const (
	pause     = 20 * time.Millisecond
	mostAsked = 64 // of those that wait; what comes above is refused at once
	quiet     = time.Second
)

// Listen gives out those of a listener's connections whose peers the rule lets in, and closes the others, each with a
// warning, or one a second. What is not let in at once is asked for again for a second, while others are let in.
func Listen(listener *net.UnixListener, rule Rule, log *slog.Logger) net.Listener {
	return &guarded{UnixListener: listener, rule: rule, log: log, accepted: make(chan acceptance),
		closed: make(chan struct{}), waiting: make(chan struct{}, mostAsked)}
}

type guarded struct {
	*net.UnixListener
	rule     Rule
	log      *slog.Logger
	begin    sync.Once
	end      sync.Once
	accepted chan acceptance
	closed   chan struct{}
	waiting  chan struct{} // holds a token for each that waits

	mu     sync.Mutex
	said   time.Time
	unsaid int
}

type acceptance struct {
	connection net.Conn
	err        error
}

// Accept returns the next connection that is let in.
func (g *guarded) Accept() (net.Conn, error) {
	g.begin.Do(func() { go g.acceptAll() })
	select {
	case a := <-g.accepted:
		return a.connection, a.err
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and closes what waits.
func (g *guarded) Close() error {
	g.end.Do(func() { close(g.closed) })
	return g.UnixListener.Close()
}

func (g *guarded) acceptAll() {
	for {
		connection, err := g.AcceptUnix()
		switch {
		case err != nil:
			if !g.hand(acceptance{nil, err}) || errors.Is(err, net.ErrClosed) {
				return
			}
		default:
			g.ask(connection)
		}
	}
}

// ask lets in, or has somebody ask on.
func (g *guarded) ask(connection *net.UnixConn) {
	pid, why := g.rule.refusal(connection)
	if why == nil {
		g.letIn(connection)
		return
	}
	select {
	case g.waiting <- struct{}{}:
		go func() {
			defer func() { <-g.waiting }()
			g.askOn(connection)
		}()
	default:
		g.refuse(connection, pid, why)
	}
}

func (g *guarded) askOn(connection *net.UnixConn) {
	for until := time.Now().Add(patience); ; {
		pid, why := g.rule.refusal(connection)
		if why == nil {
			g.letIn(connection)
			return
		}
		if time.Now().After(until) {
			g.refuse(connection, pid, why)
			return
		}
		select {
		case <-time.After(pause):
		case <-g.closed:
			_ = connection.Close()
			return
		}
	}
}

func (g *guarded) letIn(connection net.Conn) {
	if !g.hand(acceptance{connection, nil}) {
		_ = connection.Close()
	}
}

// hand reports whether somebody has taken it; nobody does once the listener is closed.
func (g *guarded) hand(a acceptance) bool {
	select {
	case g.accepted <- a:
		return true
	case <-g.closed:
		return false
	}
}

func (g *guarded) refuse(connection *net.UnixConn, pid int, why error) {
	defer func() { _ = connection.Close() }() // who is refused finds it in the log
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.said) >= quiet {
		g.log.Warn("connection refused", "socket", g.Addr().String(), "pid", pid, "reason", why.Error(), "unsaid", g.unsaid)
		g.said, g.unsaid = now, 0
		return
	}
	g.unsaid++
}
