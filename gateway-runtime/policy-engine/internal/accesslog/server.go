// Package accesslog takes the part of Envoy's access log that listeners send the engine: exchanges that are traced, and
// those that Envoy has answered by itself.
package accesslog

import (
	"io"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
)

// Reader is given each entry of a log. Several threads of Envoy's have a stream each, so that it is called from several
// goroutines.
type Reader func(entry *accesslogv3.HTTPAccessLogEntry)

// server gives entries to the reader of the log that they are of.
type server struct {
	servicev3.UnimplementedAccessLogServiceServer
	readers map[string]Reader // by the log's name
}

// Register adds the service to a gRPC server.
func Register(to grpc.ServiceRegistrar, readers map[string]Reader) {
	servicev3.RegisterAccessLogServiceServer(to, &server{readers: readers})
}

// StreamAccessLogs takes what one thread of Envoy's logs. The first message says which log it is.
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
