package peers

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	retryFor      = time.Second // a process may be newer than its entry in the file
	retryInterval = 20 * time.Millisecond
	retriesLimit  = 64          // connections that are retried at the same time; further ones are refused at once
	logInterval   = time.Second // between two warnings
)

// Listen returns a listener that accepts only connections whose peers the rule admits. It closes the others, and logs a warning
// for each, or one a second. A connection that is not admitted at once is retried for a second, while others are admitted.
// Close it instead of the listener.
func Listen(listener *net.UnixListener, rule Rule, log *slog.Logger) net.Listener {
	return &guardedListener{UnixListener: listener, rule: rule, retryFor: retryFor, log: log, accepted: make(chan acceptance),
		closed: make(chan struct{}), retrying: make(chan struct{}, retriesLimit)}
}

type guardedListener struct {
	*net.UnixListener
	rule     Rule
	retryFor time.Duration
	log      *slog.Logger
	started  sync.Once
	closing  sync.Once
	accepted chan acceptance
	closed   chan struct{}
	retrying chan struct{} // a token for each connection that is retried

	mu         sync.Mutex
	logged     time.Time
	suppressed int // warnings since
}

type acceptance struct {
	connection net.Conn
	err        error
}

// Accept returns the next admitted connection.
func (g *guardedListener) Accept() (net.Conn, error) {
	g.started.Do(func() { go g.acceptConnections() })
	select {
	case a := <-g.accepted:
		return a.connection, a.err
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and closes the waiting connections.
func (g *guardedListener) Close() error {
	g.closing.Do(func() { close(g.closed) })
	return g.UnixListener.Close()
}

func (g *guardedListener) acceptConnections() {
	for {
		connection, err := g.AcceptUnix()
		switch {
		case err != nil:
			if !g.deliver(acceptance{nil, err}) || errors.Is(err, net.ErrClosed) {
				return
			}
		default:
			g.check(connection)
		}
	}
}

// check admits a connection, or starts a goroutine that retries it.
func (g *guardedListener) check(connection *net.UnixConn) {
	pid, why := g.rule.refusal(connection)
	if why == nil {
		g.admit(connection)
		return
	}
	select {
	case g.retrying <- struct{}{}:
		go func() {
			defer func() { <-g.retrying }()
			g.retryCheck(connection)
		}()
	default:
		g.refuse(connection, pid, why)
	}
}

func (g *guardedListener) retryCheck(connection *net.UnixConn) {
	for until := time.Now().Add(g.retryFor); ; {
		pid, why := g.rule.refusal(connection)
		if why == nil {
			g.admit(connection)
			return
		}
		if time.Now().After(until) {
			g.refuse(connection, pid, why)
			return
		}
		select {
		case <-time.After(retryInterval):
		case <-g.closed:
			_ = connection.Close()
			return
		}
	}
}

func (g *guardedListener) admit(connection net.Conn) {
	if !g.deliver(acceptance{connection, nil}) {
		_ = connection.Close()
	}
}

// deliver reports whether Accept has received the connection; false once the listener is closed.
func (g *guardedListener) deliver(a acceptance) bool {
	select {
	case g.accepted <- a:
		return true
	case <-g.closed:
		return false
	}
}

func (g *guardedListener) refuse(connection *net.UnixConn, pid int, reason error) {
	defer func() { _ = connection.Close() }() // the reason is in the log
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.logged) >= logInterval {
		g.log.Warn("connection refused", "socket", g.Addr().String(), "pid", pid, "reason", reason.Error(), "suppressed", g.suppressed)
		g.logged, g.suppressed = now, 0
		return
	}
	g.suppressed++
}
