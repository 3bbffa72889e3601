package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// answer is the body of the answer to a request with the expected headers.
const answer = `{"ok":true}`

// completionAnswerText is the body of the answer to a chat completion, whose text is JSON.
const completionAnswerText = `{"id":"chatcmpl-bench","object":"chat.completion","created":1796201771,"model":"gpt-4o-mini",` +
	`"choices":[{"index":0,"message":{"role":"assistant","content":"{\"ok\":true}"},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":260,"completion_tokens":5,"total_tokens":265}}`

// expectations holds, for the first segment of a path ("/go"), the headers that a request there must carry. A path that is not
// listed is an error too, since the gateway should have sent the request elsewhere.
type expectations map[string][]header

// readExpectations reads {"/go": {"X-Go": "1"}, "/plain": {}}.
func readExpectations(path string) (expectations, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the expectations: %w", err)
	}
	var listed map[string]map[string]string
	if err := json.Unmarshal(content, &listed); err != nil {
		return nil, fmt.Errorf("read the expectations in %s: %w", path, err)
	}
	expected := expectations{}
	for prefix, headers := range listed {
		expected[prefix] = sortedHeaders(headers)
	}
	return expected, nil
}

func sortedHeaders(headers map[string]string) []header {
	listed := make([]header, 0, len(headers))
	for name, value := range headers {
		listed = append(listed, header{name, value})
	}
	slices.SortFunc(listed, func(a, b header) int { return strings.Compare(a.name, b.name) })
	return listed
}

// handle answers 200 with a fixed body, or 418 with the header that is missing.
func (e expectations) handle(exchange *fasthttp.RequestCtx) {
	wanted, known := e[string(firstSegment(exchange.Path()))]
	if !known {
		exchange.Error(fmt.Sprintf("nothing is expected at %s", exchange.Path()), fasthttp.StatusTeapot)
		return
	}
	if err := checkHeaders(wanted, &exchange.Request.Header); err != nil {
		exchange.Error(err.Error(), fasthttp.StatusTeapot)
		return
	}
	if answerEvents(exchange) {
		return
	}
	headers := &exchange.Response.Header
	headers.SetContentType("application/json")
	headers.Set("Cache-Control", "no-cache")
	headers.Set("Etag", "abc")
	headers.Set("X-Ratelimit-Remaining", "41")
	if received := len(exchange.Request.Body()); received > 0 {
		headers.Set("X-Received-Bytes", strconv.Itoa(received))
	}
	if bytes.HasSuffix(exchange.Path(), []byte(completions)) {
		exchange.SetBodyString(completionAnswerText)
		return
	}
	exchange.SetBodyString(answer)
}

// firstSegment of "/go/orders/1" is "/go".
func firstSegment(path []byte) []byte {
	if end := bytes.IndexByte(path[min(1, len(path)):], '/'); end >= 0 {
		return path[:end+1]
	}
	return path
}

// serveUpstream serves until the context ends, and writes "listening ADDRESS" to out once it accepts connections.
func serveUpstream(ctx context.Context, address string, expected expectations, out io.Writer) error {
	return serveHandler(ctx, address, expected.handle, out)
}

// serveHandler serves until the context ends, and writes "listening ADDRESS" to out once it accepts connections.
func serveHandler(ctx context.Context, address string, handler fasthttp.RequestHandler, out io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	defer func() { _ = listener.Close() }()
	if _, err := fmt.Fprintln(out, "listening", listener.Addr()); err != nil {
		return fmt.Errorf("upstream: announce the address: %w", err)
	}
	server := &fasthttp.Server{Handler: handler, Name: "bench", CloseOnShutdown: true, Logger: noLog{}}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		err := server.Shutdown()
		_ = listener.Close() // for a server that had not yet begun to serve
		stopped <- err
	}()
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("upstream at %s: %w", address, err)
	}
	return <-stopped
}

// noLog drops the server's lines about connections that the gateway closed: the load generator counts failures.
type noLog struct{}

// Printf drops the line.
func (noLog) Printf(string, ...any) {}
