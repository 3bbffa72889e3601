package extproc_test

import (
	"testing"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// BenchmarkHeaderExchange is the engine's own work for a chain of two Go policies, both header phases, without gRPC.
func BenchmarkHeaderExchange(b *testing.B) {
	server, first := serverOf("order"), opening("order", true)
	response := &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: first.GetRequestHeaders()}}
	b.ReportAllocs()
	for b.Loop() {
		stream := &script{ctx: b.Context(), sends: []*servicev3.ProcessingRequest{first, response}}
		if err := server.Process(stream); err != nil {
			b.Fatal(err)
		}
	}
}
