package logexport_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // as exporters send
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/logexport"
)

var quiet = slog.New(slog.DiscardHandler)

// receiver is a collector's side of OTLP: it keeps the records, and the values of the header "tenant".
type receiver struct {
	collectorv1.UnimplementedLogsServiceServer
	came    chan *collectorv1.ExportLogsServiceRequest
	tenants chan string
	refuses atomic.Bool
}

func newReceiver() *receiver {
	return &receiver{came: make(chan *collectorv1.ExportLogsServiceRequest, 100), tenants: make(chan string, 100)}
}

func (r *receiver) Export(ctx context.Context, request *collectorv1.ExportLogsServiceRequest) (*collectorv1.ExportLogsServiceResponse, error) {
	if r.refuses.Load() {
		return nil, fmt.Errorf("not now")
	}
	headers, _ := metadata.FromIncomingContext(ctx)
	r.tenants <- strings.Join(headers.Get("tenant"), ",")
	r.came <- request
	return &collectorv1.ExportLogsServiceResponse{}, nil
}

func (r *receiver) serveGRPC(t *testing.T) string {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorv1.RegisterLogsServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func (r *receiver) serveHTTP(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, asked *http.Request) {
		body, err := gzip.NewReader(asked.Body)
		if err != nil {
			t.Error(err)
			return
		}
		text, _ := io.ReadAll(body)
		request := &collectorv1.ExportLogsServiceRequest{}
		if err := proto.Unmarshal(text, request); err != nil || asked.URL.Path != "/v1/logs" {
			t.Errorf("%s: %v", asked.URL.Path, err)
		}
		r.tenants <- asked.Header.Get("tenant")
		r.came <- request
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// records waits for so many, by service.
func (r *receiver) records(t *testing.T, count int) map[string][]*logsv1.LogRecord {
	t.Helper()
	byService := map[string][]*logsv1.LogRecord{}
	for count > 0 {
		request := await.Receive(t, r.came, fmt.Sprintf("%d more records; there are %v", count, byService))
		for _, of := range request.GetResourceLogs() {
			service := valueOf(of.GetResource().GetAttributes(), "service.name") + "@" + valueOf(of.GetResource().GetAttributes(), "service.instance.id")
			for _, scope := range of.GetScopeLogs() {
				byService[service] = append(byService[service], scope.GetLogRecords()...)
				count -= len(scope.GetLogRecords())
			}
		}
	}
	return byService
}

func valueOf(attributes []*commonv1.KeyValue, name string) string {
	for _, attribute := range attributes {
		if attribute.GetKey() == name {
			return attribute.GetValue().GetStringValue()
		}
	}
	return ""
}

const lines = `{"time":"2026-11-26T00:27:16.123Z","level":"warning","component":"policy-engine","message":"failed","policy":"p:v1.0.0","traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","count":3,"share":0.5,"which":["a",{"b":true}]}
{"time":"2026-11-26T00:27:17.000Z","level":"error","component":"python-executor","message":"late"}
no JSON at all
`

func TestLinesAreRecordsOfTheirComponents(t *testing.T) {
	for _, way := range []string{"grpc", "http"} {
		t.Run(way, func(t *testing.T) {
			r := newReceiver()
			settings := &nodev1.Logging{Headers: map[string]string{"tenant": "blue"}, Http: way == "http"}
			if settings.GetHttp() {
				settings.Endpoint = r.serveHTTP(t)
			} else {
				settings.Endpoint = r.serveGRPC(t)
			}
			exporter := logexport.New("node-1", quiet)
			defer exporter.Close()
			exporter.Export([]byte(lines)) // no collector is configured
			exporter.Set(settings)
			exporter.Set(proto.CloneOf(settings)) // as with each Gateway: nothing changes
			exporter.Export([]byte(lines))
			byService := r.records(t, 3)
			if tenant := <-r.tenants; tenant != "blue" {
				t.Errorf("expected the header, got %q", tenant)
			}
			checkEngineRecord(t, byService["policy-engine@node-1"])
			executor := byService["python-executor@node-1"]
			if len(executor) != 1 || executor[0].GetSeverityNumber() != logsv1.SeverityNumber_SEVERITY_NUMBER_ERROR || len(executor[0].GetTraceId()) != 0 {
				t.Errorf("got %v", executor)
			}
			if odd := byService["unknown@node-1"]; len(odd) != 1 || odd[0].GetBody().GetStringValue() != "no JSON at all" {
				t.Errorf("got %v", odd)
			}
			waitFor(t, exporter, func(s logexport.Stats) bool {
				return s == logexport.Stats{Exporting: true, Exported: 3}
			})
		})
	}
}

func checkEngineRecord(t *testing.T, records []*logsv1.LogRecord) {
	t.Helper()
	if len(records) != 1 {
		t.Fatalf("expected one record, got %v", records)
	}
	record := records[0]
	at := time.Unix(0, int64(record.GetTimeUnixNano())).UTC().Format(time.RFC3339Nano) //nolint:gosec // a time of our own
	if at != "2026-11-26T00:27:16.123Z" || record.GetSeverityNumber() != logsv1.SeverityNumber_SEVERITY_NUMBER_WARN || record.GetSeverityText() != "warning" {
		t.Errorf("got %s, %v", at, record)
	}
	if hex.EncodeToString(record.GetTraceId()) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(record.GetSpanId()) != "b7ad6b7169203331" {
		t.Errorf("expected the span, got %v", record)
	}
	if record.GetBody().GetStringValue() != "failed" || valueOf(record.GetAttributes(), "policy") != "p:v1.0.0" || len(record.GetAttributes()) != 4 {
		t.Errorf("got %v", record)
	}
}

func waitFor(t *testing.T, exporter *logexport.Exporter, holds func(logexport.Stats) bool) {
	t.Helper()
	await.Until(t, "the counts that the test expects", func() bool { return holds(exporter.Stats()) })
}

func TestLostLinesAreCountedAndLoggedOnce(t *testing.T) {
	r := newReceiver()
	r.refuses.Store(true)
	var logged bytes.Buffer
	exporter := logexport.New("node-1", slog.New(slog.NewTextHandler(&logged, nil)))
	exporter.Set(&nodev1.Logging{Endpoint: r.serveGRPC(t)})
	for count := uint64(1); count <= 2; count++ {
		exporter.Export([]byte("{}\n"))
		waitFor(t, exporter, func(s logexport.Stats) bool { return s.Failed == count && s.Waiting == 0 })
	}
	r.refuses.Store(false)
	exporter.Export([]byte("{}\n"))
	waitFor(t, exporter, func(s logexport.Stats) bool { return s.Exported == 1 })
	exporter.Set(nil)
	exporter.Close()
	if exporter.Stats().Exporting || strings.Count(logged.String(), "does not accept log lines") != 1 || strings.Count(logged.String(), "accepts log lines again") != 1 {
		t.Errorf("got %s", logged.String())
	}
}

func TestACollectorThatIsAwayCostsNothing(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // it accepts connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	exporter := logexport.New("node-1", quiet)
	exporter.Set(&nodev1.Logging{Endpoint: silent.Addr().String()})
	const many = 100_000
	exporter.Export(bytes.Repeat([]byte("{}\n"), many)) // if it waited for room, it would drop nothing
	stats := exporter.Stats()
	if stats.Dropped < many/2 || stats.Waiting > 10_000 || stats.Dropped+uint64(stats.Waiting)+stats.Failed != many { //nolint:gosec // not negative
		t.Errorf("expected most to be dropped, and all counted, got %+v", stats)
	}
	exporter.Close()
}

// TestClosingAHungCollectorBlocksNothing: otherwise hung collectors would use up the room of later ones.
func TestClosingAHungCollectorBlocksNothing(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // it accepts connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	exporter := logexport.New("node-1", quiet)
	exporter.Set(&nodev1.Logging{Endpoint: listener.Addr().String()})
	const count = 3000
	exporter.Export(bytes.Repeat([]byte("{}\n"), count))
	exporter.Close()
	if got := exporter.Stats(); got.Waiting != 0 || got.Failed != count {
		t.Errorf("expected %d lines to have failed, and none to wait, got %+v", count, got)
	}
}

// TestLinesAreBoundedAndText: by bytes, too; and a line that is not UTF-8 does not fail the others.
func TestLinesAreBoundedAndText(t *testing.T) {
	r := newReceiver()
	exporter := logexport.New("node-1", quiet)
	defer exporter.Close()
	exporter.Set(&nodev1.Logging{Endpoint: r.serveGRPC(t)})
	exporter.Export([]byte("a\xffb\n" + `{"message":"c","d\xff":"e"}` + "\n"))
	for _, records := range r.records(t, 2) {
		for _, record := range records {
			if body := record.GetBody().GetStringValue(); body != "a\uFFFDb" && !strings.Contains(body, `"c"`) && body != "c" {
				t.Errorf("got %v", record)
			}
		}
	}
	exporter.Export(bytes.Repeat(append(bytes.Repeat([]byte("x"), 1<<20), '\n'), 40))
	if got := exporter.Stats(); got.Dropped < 20 {
		t.Errorf("expected 16 MiB to wait at most, got %+v", got)
	}
}
