package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	completions = "/chat/completions" // the end of the path of requests that the provider answers
	chunkFormat = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1796201771,"model":%q,` +
		`"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}` + "\n\n"
	usageFormat = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1796201771,"model":%q,` +
		`"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}` + "\n\n"
	bytesOfToken = 4 // of a prompt, for its usage
	maxTokens    = 1_000_000
)

// provider is a model's provider that streams chat completions. The answer has as many tokens as the request allows at most,
// the first one at once. Each token is the time at which it is sent (timeWord); the last event of the text repeats the word of
// the prompt that follows before.
type provider struct {
	every  time.Duration // the time between two tokens
	before string        // the words before the one that the answer repeats
	hidden string        // a text that a prompt must not have, unless its path begins with open
	open   string
}

// completion is what the provider reads of a request.
type completion struct {
	Model     string `json:"model"`
	Stream    bool   `json:"stream"`
	MaxTokens int    `json:"max_tokens"` //nolint:tagliatelle // the provider's name
	Options   struct {
		IncludeUsage bool `json:"include_usage"` //nolint:tagliatelle // the provider's name
	} `json:"stream_options"` //nolint:tagliatelle // the provider's name
}

// providerCommand serves until the context ends. It prints "listening ADDRESS" once it accepts connections.
func providerCommand(ctx context.Context, arguments []string, out io.Writer) error {
	var p provider
	flags := flag.NewFlagSet("provider", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	flags.DurationVar(&p.every, "every", 20*time.Millisecond, "time between two tokens")
	flags.StringVar(&p.before, "before", "", "the answer ends with the word that follows this text in the prompt")
	flags.StringVar(&p.hidden, "hidden", "", "text that a prompt must not have")
	flags.StringVar(&p.open, "open", "", "beginning of the paths whose prompts may have it")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	return serveHandler(ctx, *listen, p.handle, out)
}

// handle answers 418 if the request is not one that the row should have sent.
func (p provider) handle(exchange *fasthttp.RequestCtx) {
	path := string(exchange.Path())
	if exchange.IsGet() { // gateways ask for the models to see whether their provider is alive
		exchange.SetContentType("application/json")
		exchange.SetBodyString(`{"object":"list","data":[]}`)
		return
	}
	body := exchange.Request.Body()
	asked, err := p.read(path, body)
	if err != nil {
		exchange.Error(err.Error(), fasthttp.StatusTeapot)
		return
	}
	last, prompt := wordBehind(body, p.before), len(body)/bytesOfToken
	exchange.Response.Header.SetContentType("text/event-stream")
	exchange.SetBodyStreamWriter(func(out *bufio.Writer) { p.writeTokens(out, asked, last, prompt) })
}

func (p provider) read(path string, body []byte) (completion, error) {
	var asked completion
	if !strings.HasSuffix(path, completions) {
		return asked, fmt.Errorf("expected a path that ends with %s, got %s", completions, path)
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return asked, fmt.Errorf("expected JSON: %w", err)
	}
	if !asked.Stream || asked.MaxTokens < 1 || asked.MaxTokens > maxTokens {
		return asked, fmt.Errorf("expected stream true and max_tokens of 1 to %d, got %t and %d", maxTokens, asked.Stream, asked.MaxTokens)
	}
	isOpen := p.open != "" && strings.HasPrefix(path, p.open)
	if p.hidden != "" && !isOpen && bytes.Contains(body, []byte(p.hidden)) {
		return asked, errors.New("expected a prompt without what the row's policies mask")
	}
	return asked, nil
}

// writeTokens returns early if the client has left.
func (p provider) writeTokens(out *bufio.Writer, asked completion, last string, prompt int) {
	send := func(format string, values ...any) bool {
		_, _ = fmt.Fprintf(out, format, values...)
		return out.Flush() == nil
	}
	if !send(chunkFormat, asked.Model, `{"role":"assistant","content":""}`, "null") {
		return
	}
	separator := ""
	for n := range asked.MaxTokens {
		if n > 0 {
			time.Sleep(p.every)
		}
		delta := fmt.Sprintf(`{"content":"%s%s"}`, separator, timeWord(time.Now()))
		if !send(chunkFormat, asked.Model, delta, "null") {
			return
		}
		separator = " "
	}
	if last != "" && !send(chunkFormat, asked.Model, fmt.Sprintf(`{"content":" %s"}`, last), "null") {
		return
	}
	if !send(chunkFormat, asked.Model, "{}", `"stop"`) {
		return
	}
	if asked.Options.IncludeUsage && !send(usageFormat, asked.Model, prompt, asked.MaxTokens, prompt+asked.MaxTokens) {
		return
	}
	send("data: [DONE]\n\n")
}

// wordBehind returns what follows the text up to a space, a quote or a backslash; "" if the body does not have the text.
func wordBehind(body []byte, text string) string {
	_, rest, found := bytes.Cut(body, []byte(text))
	if text == "" || !found {
		return ""
	}
	if end := bytes.IndexAny(rest, " \"\\"); end >= 0 {
		rest = rest[:end]
	}
	return string(rest)
}
