package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DefaultPort is the port of a listener that configures none, if it is free.
const DefaultPort = 9901

// Address is the configured address of a Listener.
type Address struct {
	IP   string // "127.0.0.1"
	Port int    // 0: DefaultPort, or any free port if that is taken
}

// Listener serves a handler over HTTP at an address that may change at runtime. All methods may be called from any
// goroutine; Listen and Close wait for each other.
type Listener struct {
	handler http.Handler
	log     *slog.Logger

	mutex      sync.Mutex // of Listen and Close
	closed     bool
	configured Address
	address    Address      // the present address
	server     *http.Server // nil: not listening
	listener   net.Listener
	serving    sync.WaitGroup
	actual     atomic.Pointer[string]
}

// NewListener makes a listener without an address.
func NewListener(handler http.Handler, log *slog.Logger) *Listener {
	return &Listener{handler: handler, log: log}
}

// Actual returns the present address, "127.0.0.1:9901"; "": it does not listen.
func (l *Listener) Actual() string {
	if at := l.actual.Load(); at != nil {
		return *at
	}
	return ""
}

// Listen moves the listener to an address; nil: it stops listening. If it cannot listen there, it stays at the previous
// address, and logs the reason: the node's traffic does not depend on it.
func (l *Listener) Listen(address *Address) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	switch {
	case l.closed:
	case address == nil:
		l.stop()
		l.actual.Store(nil)
	case l.server == nil || l.configured != *address:
		l.moveTo(*address)
	}
}

func (l *Listener) moveTo(address Address) {
	previous, at := l.Actual(), l.address
	same := l.server != nil && (address.Port == at.Port || address.Port == 0 && at.Port == DefaultPort)
	if same { // another address with the same port: both cannot listen at once
		l.stop()
	}
	listener, err := listenAt(address)
	if err != nil {
		l.log.Error("the admin listener cannot listen; choose another spec.admin.port of the Gateway", "address", address.text(),
			"listening", previous, "error", err.Error())
		if !same {
			return
		}
		if listener, err = listenTCP(at); err != nil {
			l.actual.Store(nil)
			return
		}
		l.serve(listener)
		return
	}
	l.stop()
	l.configured = address
	l.serve(listener)
	l.log.Info("the admin listener answers /metrics, /healthz and /ready", "address", l.Actual(), "before", previous)
	if ip := net.ParseIP(address.IP); ip != nil && !ip.IsLoopback() {
		l.log.Warn("the admin listener can be reached from other machines, over HTTP in clear, and asks for no password; "+
			"let only scrapers reach it", "address", l.Actual())
	}
}

func (l *Listener) serve(listener net.Listener) {
	server := &http.Server{Handler: checkHost(l.handler, listener.Addr()), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)}
	at := listener.Addr().String()
	l.server, l.listener = server, listener
	l.actual.Store(&at)
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok {
		l.address = Address{tcp.IP.String(), tcp.Port}
	}
	l.serving.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			l.log.Error("the admin listener has ended", "address", at, "error", err.Error())
		}
	})
}

// checkHost answers requests to a loopback address only if their host names this machine: the script of a web page can reach
// loopback under the page's own name (DNS rebinding). The controller has the same rule.
func checkHost(next http.Handler, at net.Addr) http.Handler {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := (&url.URL{Host: r.Host}).Hostname()
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "expected a Host header that names this machine, as localhost or 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// listenAt listens at an address. Without a port it takes the default one, or any port if that is taken.
func listenAt(address Address) (net.Listener, error) {
	if address.Port != 0 {
		return listenTCP(address)
	}
	listener, err := listenTCP(Address{address.IP, DefaultPort})
	if errors.Is(err, syscall.EADDRINUSE) {
		return listenTCP(address)
	}
	return listener, err
}

func listenTCP(at Address) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", at.text())
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

func (a Address) text() string { return net.JoinHostPort(a.IP, strconv.Itoa(a.Port)) }

// stop accepts no new connections, and waits for responses under way.
func (l *Listener) stop() {
	if l.server == nil {
		return
	}
	server := l.server
	l.server = nil
	_ = l.listener.Close() // at once, so that the same port can be used again
	l.serving.Go(func() {
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close()
		}
	})
}

// Close ends the listener for good, and waits for its end.
func (l *Listener) Close() {
	l.Listen(nil)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.closed = true
	l.serving.Wait()
}
