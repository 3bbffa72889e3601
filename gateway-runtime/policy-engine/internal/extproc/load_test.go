package extproc_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// A load imitates Envoy in a process of its own: two connections, as of two workers, each with many exchanges under
// way. An exchange is one stream: headers of a request, the answer, headers of the response, the answer, the end. The
// benchmarks start it as this test's program with loadVariable set.
type load struct {
	left  atomic.Int64
	open  []byte // HEADERS of a stream, encoded without the dynamic table
	sends [2][]byte
}

const loadVariable = "EXTPROC_BENCH_LOAD" // SOCKET,STREAMS,EXCHANGES,PHASES

// browser is a browser's request, as Envoy passes it on.
var browser = [][2]string{
	{":authority", "localhost:8080"}, {":path", "/go/orders/4711"}, {":method", "GET"}, {":scheme", "http"},
	{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, {"accept-language", "en-US,en;q=0.5"},
	{"accept-encoding", "gzip, deflate, br, zstd"}, {"cache-control", "no-cache"}, {"cookie", "session=0123456789abcdef; theme=dark"},
	{"referer", "https://example.com/orders"}, {"sec-fetch-mode", "navigate"}, {"x-forwarded-for", "192.0.2.1"},
	{"x-forwarded-proto", "http"}, {"x-request-id", "6b5d4e6b-3d2c-4c1d-9f6e-0a1b2c3d4e5f"},
}

var upstreams = [][2]string{
	{":status", "200"}, {"content-type", "application/json"}, {"content-length", "27"}, {"date", "Tue, 24 Nov 2026 20:00:00 GMT"},
	{"server", "upstream"}, {"x-envoy-upstream-service-time", "1"},
}

func headerMap(lines [][2]string) *corev3.HeaderMap {
	headers := &corev3.HeaderMap{}
	for _, line := range lines {
		headers.Headers = append(headers.Headers, &corev3.HeaderValue{Key: line[0], RawValue: []byte(line[1])})
	}
	return headers
}

// messages are Envoy's messages in an exchange of two header phases on the route of the chain.
func messages(chain string) (request, response *servicev3.ProcessingRequest) {
	request = opening(chain, true)
	request.GetRequestHeaders().Headers = headerMap(browser)
	response = &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &servicev3.HttpHeaders{Headers: headerMap(upstreams)},
	}}
	return request, response
}

func newLoad(exchanges int) *load {
	l := &load{}
	l.left.Store(int64(exchanges))
	request, response := messages("order")
	l.sends = [2][]byte{grpcMessage(request), grpcMessage(response)}
	var open bytes.Buffer
	encoder := hpack.NewEncoder(&open)
	encoder.SetMaxDynamicTableSize(0)
	for _, field := range [][2]string{
		{":method", "POST"}, {":path", servicev3.ExternalProcessor_Process_FullMethodName}, {":authority", "engine"}, {":scheme", "http"},
		{"te", "trailers"}, {"content-type", "application/grpc"}, {"x-envoy-internal", "true"}, {"x-forwarded-for", "192.0.2.1"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	l.open = open.Bytes()
	return l
}

func grpcMessage(message proto.Message) []byte {
	payload := must(proto.Marshal(message))
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(payload))), payload...)
}

// runLoad is the process: it ends after all exchanges.
func runLoad(settings string) {
	var socket string
	var streams, exchanges int
	must(fmt.Sscanf(settings, "%d,%d,%s", &streams, &exchanges, &socket))
	l := newLoad(exchanges)
	var connections sync.WaitGroup
	for range 2 {
		connections.Go(func() { l.run(socket, max(streams/2, 1)) })
	}
	connections.Wait()
}

// loadConnection is one HTTP/2 connection of a load.
type loadConnection struct {
	*load
	writer   *bufio.Writer
	framer   *http2.Framer
	last     uint32
	active   int
	answered map[uint32]int // answers by stream
	consumed uint32
}

func (l *load) run(socket string, streams int) {
	conn := must(net.Dial("unix", socket)) //nolint:noctx // ends with the process
	c := &loadConnection{load: l, writer: bufio.NewWriterSize(conn, 64<<10), last: 1, answered: map[uint32]int{}}
	reader := bufio.NewReaderSize(conn, 64<<10)
	c.framer = http2.NewFramer(c.writer, reader)
	c.framer.SetReuseFrames()
	must(c.writer.WriteString(http2.ClientPreface))
	check(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
	check(c.framer.WriteWindowUpdate(0, 8<<20))
	for range streams {
		c.begin()
	}
	for c.active > 0 {
		if reader.Buffered() == 0 {
			check(c.writer.Flush())
		}
		c.take(must(c.framer.ReadFrame()))
	}
	check(conn.Close())
}

func (c *loadConnection) begin() {
	if c.left.Add(-1) < 0 {
		return
	}
	c.active++
	c.last += 2
	check(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: c.open, EndHeaders: true}))
	check(c.framer.WriteData(c.last, false, c.sends[0]))
}

func (c *loadConnection) take(frame http2.Frame) {
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			check(c.framer.WriteSettingsAck())
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			check(c.framer.WritePing(true, frame.Data))
		}
	case *http2.DataFrame:
		c.answer(frame)
	case *http2.HeadersFrame:
		c.end(frame)
	case *http2.GoAwayFrame:
		panic(frame.String())
	}
}

// answer takes each DATA frame for one whole message, which is true of the engine.
func (c *loadConnection) answer(frame *http2.DataFrame) {
	if c.consumed += frame.Length; c.consumed > 4<<20 {
		check(c.framer.WriteWindowUpdate(0, c.consumed))
		c.consumed = 0
	}
	c.answered[frame.StreamID]++
	if c.answered[frame.StreamID] == 1 {
		check(c.framer.WriteData(frame.StreamID, false, c.sends[1]))
	}
}

func (c *loadConnection) end(frame *http2.HeadersFrame) {
	if !frame.StreamEnded() {
		return
	}
	if got := c.answered[frame.StreamID]; got != 2 {
		panic("stream " + strconv.Itoa(int(frame.StreamID)) + ": expected 2 answers, got " + strconv.Itoa(got))
	}
	delete(c.answered, frame.StreamID)
	c.active--
	c.begin()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func init() {
	if settings, ok := os.LookupEnv(loadVariable); ok {
		runLoad(settings)
		os.Exit(0)
	}
}
