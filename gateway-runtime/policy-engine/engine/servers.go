package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"gatewright.dev/policy-engine/internal/accesslog"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/policy-engine/internal/grpcstream"
	"gatewright.dev/policy-engine/internal/peers"
	"gatewright.dev/policy-engine/internal/statecopy"
	"gatewright.dev/policy-engine/internal/xds"
)

// servers are the engine's sockets and their servers.
type servers struct {
	extProc, xds, admin endpoint
	extProcServer       *grpcstream.Server
	xdsServer           *grpc.Server
	adminServer         *http.Server
	states              *statecopy.Server // nil: other nodes get no state here
	attached            endpoint          // of Envoys that are not the node's own; without a listener: there are none
	attachedServer      *grpcstream.Server
}

type endpoint struct {
	listener net.Listener
	serve    func(net.Listener) error
}

// listen opens all sockets, or none.
func (e *Engine) listen(ctx context.Context) (*servers, error) {
	e.exchanges = extproc.NewServer(exchange.NewServer(e.table, e.operations, e.counters, &e.watches), e.redactAnalytics, e.options.Log)
	s := &servers{
		extProcServer: e.exchanges.GRPC(),
		xdsServer:     grpc.NewServer(grpc.ForceServerCodecV2(xds.Codec{})),
		adminServer:   admin.Server(e.adminSources()),
	}
	e.xds.Register(s.xdsServer)
	accesslog.Register(s.xdsServer, e.accessLogs()) // Envoy reads from one service and sends to the other, over the same socket
	s.extProc.serve, s.xds.serve, s.admin.serve = s.extProcServer.Serve, s.xdsServer.Serve, s.adminServer.Serve
	envoy := peers.Rule{File: e.options.Peers, Roles: []string{peers.Envoy}}
	people := peers.Rule{File: e.options.Peers, Roles: []string{peers.Supervisor}, Outside: true}
	for _, socket := range []struct {
		flag, address string
		endpoint      *endpoint
		rule          peers.Rule
	}{
		{"admin", e.options.Admin, &s.admin, people}, {"ext-proc", e.options.ExtProc, &s.extProc, envoy},
		{"xds", e.options.XDS, &s.xds, envoy},
	} {
		listener, err := listen(ctx, socket.address, socket.rule, e.options.Log)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("--%s: %w", socket.flag, err)
		}
		socket.endpoint.listener = listener
	}
	if e.options.Attach.Address != "" {
		if err := s.listenAttached(ctx, e); err != nil {
			s.close()
			return nil, err
		}
	}
	if e.states != nil {
		states, err := statecopy.NewServer(ctx, e.options.StateListen, e.states, e.options.Log)
		if err != nil {
			s.close()
			return nil, err
		}
		s.states = states
		e.options.Log.Info("other nodes get the controller's signed state here", "address", states.Address())
	}
	return s, nil
}

// listenAttached opens the port for Envoys that are not the node's own.
func (s *servers) listenAttached(ctx context.Context, e *Engine) (err error) {
	exchanges := exchange.NewAttachedServer(e.table, e.attachments, e.counters, &e.watches)
	s.attachedServer = extproc.NewAttachedServer(exchanges, e.options.Log).GRPC()
	s.attached.serve = s.attachedServer.Serve
	if s.attached.listener, err = e.options.Attach.listen(ctx); err == nil {
		e.options.Log.Info("other Envoys send requests here", "address", s.attached.listener.Addr().String(), "encrypted", e.options.Attach.Certificate != "", "certificatesRequired", e.options.Attach.Authority != "")
	}
	return err
}

// startStates serves the signed state to other nodes, where it listens for them.
func (s *servers) startStates(failed chan<- error) {
	if s.states == nil {
		return
	}
	go func() {
		if err := s.states.Serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve %s: %w", s.states.Address(), err)
		}
	}()
}

func (s *servers) start(at endpoint, failed chan<- error) {
	go func() {
		if err := at.serve(at.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve %s: %w", at.listener.Addr(), err)
		}
	}()
}

// drain accepts no new exchanges, and waits for those under way, for at most limit.
func (s *servers) drain(limit time.Duration, log *slog.Logger) {
	timer := time.AfterFunc(limit, func() {
		log.Warn("exchanges are still under way at the end of the drain timeout; they are cut off", "timeout", limit.String())
		s.stopExchanges()
	})
	defer timer.Stop()
	if s.attachedServer != nil {
		var ending sync.WaitGroup
		ending.Go(s.attachedServer.GracefulStop)
		defer ending.Wait()
	}
	s.extProcServer.GracefulStop()
}

// stopExchanges cuts off all exchanges.
func (s *servers) stopExchanges() {
	s.extProcServer.Stop()
	if s.attachedServer != nil {
		s.attachedServer.Stop()
	}
}

func (s *servers) close() {
	s.stopExchanges()
	s.xdsServer.Stop()
	_ = s.adminServer.Close()
	if s.states != nil {
		_ = s.states.Close()
	}
	for _, at := range []endpoint{s.extProc, s.xds, s.admin, s.attached} {
		if at.listener != nil {
			_ = at.listener.Close() // even if it is not being served yet: this removes its file
		}
	}
}
