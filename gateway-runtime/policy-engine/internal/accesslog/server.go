// Package accesslog receives the part of Envoy's access log that listeners send to the engine: exchanges that are traced, and
// those that Envoy has answered by itself.
package accesslog

import (
	"io"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
)

// Reader receives each entry of a log. Several of Envoy's threads have a stream each, so it is called from several
// goroutines.
type Reader func(entry *accesslogv3.HTTPAccessLogEntry)

// server passes entries to the reader of their log.
type server struct {
	servicev3.UnimplementedAccessLogServiceServer
	readers map[string]Reader // by the name of the log
}

// Register adds the service to a gRPC server.
func Register(to grpc.ServiceRegistrar, readers map[string]Reader) {
	servicev3.RegisterAccessLogServiceServer(to, &server{readers: readers})
}

// StreamAccessLogs receives the entries of one of Envoy's threads. The first message names the log.
func (s *server) StreamAccessLogs(stream grpc.ClientStreamingServer[servicev3.StreamAccessLogsMessage, servicev3.StreamAccessLogsResponse]) error {
	var read Reader
	for {
		message, err := stream.Recv()
		if err == io.EOF { //nolint:errorlint // as grpc says
			return stream.SendAndClose(&servicev3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return err
		}
		if name := message.GetIdentifier().GetLogName(); name != "" {
			read = s.readers[name]
		}
		if read == nil {
			continue
		}
		for _, entry := range message.GetHttpLogs().GetLogEntry() {
			read(entry)
		}
	}
}
