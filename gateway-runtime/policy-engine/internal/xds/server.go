package xds

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// Server serves one Envoy by delta ADS and reports its answers. All methods may be called at any time.
//
// go-control-plane's own server is not used: it sends nothing of a type while an acknowledgement is out, so a cluster
// whose name does not resolve could not be taken away again.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	nodeID    string
	state     *state
	log       *slog.Logger
	connected chan struct{}
	streams   atomic.Int64
	refusals  atomic.Int64
}

// NewServer makes a server for the Envoy with this node id. It begins without resources.
func NewServer(nodeID string, log *slog.Logger) *Server {
	return &Server{nodeID: nodeID, state: newState(), log: log, connected: make(chan struct{}, 1)}
}

// Register adds the service to a gRPC server that has the Codec.
func (s *Server) Register(to grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(to, s)
}

// SetClusters sets all of Envoy's clusters and waits until it has acknowledged them. It returns ErrNoEnvoy,
// a *RefusedError, or ErrNoAnswer when ctx ends; in each case the clusters stay set until the next call.
func (s *Server) SetClusters(ctx context.Context, clusters Resources) error {
	return s.state.waitAcknowledged(ctx, ClusterType, s.state.set(ClusterType, clusters))
}

// SetRoutes sets Envoy's route configuration, like SetClusters. It does not wait
// if no listener uses it.
func (s *Server) SetRoutes(ctx context.Context, config Resource) error {
	return s.state.waitAcknowledged(ctx, RouteType, s.state.set(RouteType, Resources{config.Name: config}))
}

// SetSecrets sets the certificates and authorities that Envoy may request by name, like SetClusters. It does not
// wait while Envoy requests none.
func (s *Server) SetSecrets(ctx context.Context, secrets Resources) error {
	return s.state.waitAcknowledged(ctx, SecretType, s.state.set(SecretType, secrets))
}

// SetListeners sets all of Envoy's listeners, like SetClusters. If Envoy refuses some, it may have accepted
// others of the same call: the caller then sets the previous ones again.
func (s *Server) SetListeners(ctx context.Context, listeners Resources) error {
	return s.state.waitAcknowledged(ctx, ListenerType, s.state.set(ListenerType, listeners))
}

// Connected yields a value after an Envoy has connected. Several connections may yield one.
func (s *Server) Connected() <-chan struct{} { return s.connected }

// EnvoyServes reports whether the connected Envoy has listeners and their routes.
func (s *Server) EnvoyServes() bool { return s.state.envoyServes() }

// Stats are the counters of /stats.
type Stats struct {
	EnvoyConnected     bool   `json:"envoyConnected"`
	Streams            int64  `json:"streams"`
	Refusals           int64  `json:"refusals"`
	Clusters           int    `json:"clusters"`
	Listeners          int    `json:"listeners"`
	Secrets            int    `json:"secrets"`
	ClusterGeneration  uint64 `json:"clusterGeneration"`
	ClustersConfirmed  uint64 `json:"clustersConfirmed"`
	ListenerGeneration uint64 `json:"listenerGeneration"`
	ListenersConfirmed uint64 `json:"listenersConfirmed"`
	RouteGeneration    uint64 `json:"routeGeneration"`
	RoutesConfirmed    uint64 `json:"routesConfirmed"`
	RouteConfigVersion string `json:"routeConfigVersion"`

	Updates map[string]UpdateStats `json:"updates"` // by type: clusters, listeners, routes, secrets
}

// UpdateStats count Envoys' answers to updates since the start.
type UpdateStats struct {
	Acknowledged uint64 `json:"acknowledged"`
	Refused      uint64 `json:"refused"`
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	s.state.mutex.Lock()
	defer s.state.mutex.Unlock()
	clusters, listeners, routes := s.state.types[ClusterType], s.state.types[ListenerType], s.state.types[RouteType]
	routesConfirmed := routes.confirmed
	if s.state.envoy != nil && s.state.isUnrequested(RouteType) {
		routesConfirmed = routes.generation // no listener has routes, so Envoy acknowledges none
	}
	return Stats{
		EnvoyConnected: s.state.envoy != nil, Streams: s.streams.Load(), Refusals: s.refusals.Load(),
		Clusters: len(clusters.resources), ClusterGeneration: clusters.generation, ClustersConfirmed: clusters.confirmed,
		Listeners: len(listeners.resources), ListenerGeneration: listeners.generation, ListenersConfirmed: listeners.confirmed,
		Secrets:         len(s.state.types[SecretType].resources),
		RouteGeneration: routes.generation, RoutesConfirmed: routesConfirmed,
		RouteConfigVersion: routes.resources[envoynames.RouteConfiguration].Version,
		Updates: map[string]UpdateStats{
			"clusters": clusters.updates, "listeners": listeners.updates, "routes": routes.updates,
			"secrets": s.state.types[SecretType].updates,
		},
	}
}

// envoyVersion returns a version such as "1.35.3".
func envoyVersion(node *corev3.Node) string {
	version := node.GetUserAgentBuildVersion().GetVersion()
	return fmt.Sprintf("%d.%d.%d", version.GetMajorNumber(), version.GetMinorNumber(), version.GetPatch())
}

// DeltaAggregatedResources is the stream of one Envoy.
func (s *Server) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if id := first.GetNode().GetId(); id != s.nodeID {
		s.log.Error("an Envoy of another node connected", "expected", s.nodeID, "got", id)
		return status.Errorf(codes.InvalidArgument, "node id: expected %q, got %q", s.nodeID, id)
	}
	envoy := newConnection(s.state)
	s.state.connect(envoy)
	defer s.state.disconnect(envoy)
	s.streams.Add(1)
	s.log.Info("Envoy connected", "version", envoyVersion(first.GetNode()))
	select {
	case s.connected <- struct{}{}:
	default:
	}
	err = s.serve(stream, envoy, first)
	s.log.Info("Envoy disconnected", "reason", status.Convert(err).Message())
	return err
}

func (s *Server) serve(
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, envoy *connection,
	request *discoveryv3.DeltaDiscoveryRequest,
) error {
	requests, failed := receive(stream)
	for {
		if reason := envoy.receive(request); reason != "" {
			s.refusals.Add(1)
			s.log.Error("Envoy refused", "type", request.GetTypeUrl(), "reason", reason)
		}
		// Taken before comparing: a change in between must wake the wait below.
		changes := s.state.changes()
		if err := sendAll(stream, envoy); err != nil {
			return err
		}
		request = &discoveryv3.DeltaDiscoveryRequest{}
		select {
		case request = <-requests:
		case err := <-failed:
			return err
		case <-changes:
		}
	}
}

func sendAll(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, envoy *connection) error {
	for response := envoy.next(); response != nil; response = envoy.next() {
		if err := stream.SendMsg(response); err != nil {
			return err
		}
	}
	return nil
}

// receive reads requests until the stream ends, which it does when the handler returns.
func receive(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) (
	<-chan *discoveryv3.DeltaDiscoveryRequest, <-chan error,
) {
	requests, failed := make(chan *discoveryv3.DeltaDiscoveryRequest), make(chan error, 1)
	go func() {
		for {
			request, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- request:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	return requests, failed
}
