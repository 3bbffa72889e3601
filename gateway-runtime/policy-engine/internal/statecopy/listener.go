package statecopy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"gatewright.dev/policy-engine/internal/node/signedstate"
)

// mostConnections is how many nodes can ask at once; others wait.
const mostConnections = 32

// Listen configures where a node serves its signed state to others.
type Listen struct {
	Address     string // HOST:PORT; "": nowhere
	Certificate string // PEM file, with those of its authorities
	Key         string // PEM file
	Token       string // file with the token of those who may ask
}

// Check returns what is wrong with the files as they are now.
func (l Listen) Check() error {
	if l.Address == "" {
		return nil
	}
	_, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		err = fmt.Errorf("--state-listen: expected HOST:PORT, got %q", l.Address)
	}
	if _, pairErr := tls.LoadX509KeyPair(l.Certificate, l.Key); pairErr != nil {
		err = errors.Join(err, fmt.Errorf("--state-listen-certificate and --state-listen-key: expected a certificate with its key, got: %w", pairErr))
	}
	if _, tokenErr := signedstate.ReadToken(l.Token); tokenErr != nil {
		err = errors.Join(err, fmt.Errorf("--state-token: expected a file with a token beside --state-listen, got: %w", tokenErr))
	}
	return err
}

// Server serves a copy by TLS. The certificate is read for each connection: it may be renewed.
type Server struct {
	server   *http.Server
	listener net.Listener
}

// NewServer listens.
func NewServer(ctx context.Context, l Listen, states http.Handler, log *slog.Logger) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, fmt.Errorf("--state-listen: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
		return &pair, err
	}}
	mux := http.NewServeMux()
	mux.Handle("GET "+signedstate.Path, states)
	return &Server{listener: netutil.LimitListener(listener, mostConnections), server: &http.Server{
		Handler: mux, TLSConfig: config, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 5 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}, nil
}

// Address returns where it listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Serve serves until Close.
func (s *Server) Serve() error { return s.server.ServeTLS(s.listener, "", "") }

// Close ends all connections.
func (s *Server) Close() error {
	return errors.Join(s.server.Close(), ignoreClosed(s.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
