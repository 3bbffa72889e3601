package extproc_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/contentcoding"
)

// Bodies with content codings, through the real Envoy.

var everyCoding = []string{"gzip", "deflate", "br", "zstd", "zstd, gzip"}

func codingsOf(name string) []contentcoding.Coding {
	return must(contentcoding.ParseCodings(slices.Values([]string{name})))
}

func encodedText(text, codings string) []byte {
	encoder := contentcoding.NewEncoder(codingsOf(codings))
	defer encoder.Close()
	return encoder.Encode([]byte(text), true)
}

// decodedReader decodes from; "" and "identity" are no codings.
func decodedReader(from io.Reader, codings string) io.Reader {
	parsed := codingsOf(codings)
	if len(parsed) == 0 {
		return from
	}
	decoder := contentcoding.NewDecoder(parsed, func() ([]byte, error) {
		room := make([]byte, 4096)
		n, err := from.Read(room)
		if n > 0 {
			return room[:n], nil
		}
		return nil, err
	})
	reader, writer := io.Pipe()
	go func() {
		defer decoder.Close()
		for {
			piece, err := decoder.Next()
			if err != nil {
				_ = writer.CloseWithError(err)
				return
			}
			if _, err = writer.Write(piece); err != nil {
				return
			}
		}
	}()
	return reader
}

// converseEncoded is an upstream that repeats each line of the request, with codings, and flushes it.
func converseEncoded(w http.ResponseWriter, r *http.Request, codings string) {
	header := w.Header()
	header.Set("Content-Encoding", codings)
	header.Set("Etag", `"v1"`)
	header.Set("Content-Digest", "sha-256=:x:")
	header.Set("Accept-Ranges", "bytes")
	header.Set("X-Accepted", r.Header.Get("Accept-Encoding"))
	header.Set("X-Coding", r.Header.Get("Content-Encoding"))
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	encoder := contentcoding.NewEncoder(codingsOf(codings))
	defer encoder.Close()
	lines := bufio.NewReader(r.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			_, _ = w.Write(encoder.Encode([]byte(line), true))
			return
		}
		_, _ = w.Write(encoder.Encode([]byte("again: "+line), false))
		_ = control.Flush()
	}
}

func TestABodyWithAnyCodingThroughEnvoy(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		for _, codings := range everyCoding {
			for chain, want := range map[string]string{"encodes-buffer": "AGAIN: HELLO\n!!", "encodes-stream": "AGAIN: HELLO\n"} {
				for accept, leaves := range map[string]string{
					"gzip, deflate, br, zstd":               codings,
					"gzip, deflate, br, zstd, identity;q=0": codings,
					"identity":                              "",
					"":                                      "",
				} {
					name := fmt.Sprintf("%s, %s, accepted %q", chain, codings, accept)
					reply, _ := do(t, w.upstream, w.h2c, func(r *http.Request) {
						r.Header.Set("X-Encode", codings)
						r.Header.Set("Content-Encoding", codings)
						if accept != "" {
							r.Header.Set("Accept-Encoding", accept)
						}
					}, "POST", "/"+chain+"/x", bytes.NewReader(encodedText("hello\n", codings)))
					body, err := io.ReadAll(decodedReader(strings.NewReader(reply.body), reply.Header.Get("Content-Encoding")))
					if err != nil || reply.StatusCode != http.StatusOK || string(body) != want {
						t.Errorf("%s: got %d, %q, %v", name, reply.StatusCode, body, err)
					}
					expectHeaders(t, name, reply.Header, map[string]string{
						"Content-Encoding": leaves, "Etag": `W/"v1"`, "Content-Digest": "", "Accept-Ranges": "", "Vary": "accept-encoding",
						"X-Coding": "", "X-Accepted": upstreamAccepts(accept),
					})
				}
			}
		}
	})
}

func upstreamAccepts(accept string) string {
	if accept == "" {
		return "identity"
	}
	return accept
}

func expectHeaders(t *testing.T, name string, got http.Header, want map[string]string) {
	t.Helper()
	for header, value := range want {
		if got.Get(header) != value {
			t.Errorf("%s: %s: expected %q, got %q", name, header, value, got.Get(header))
		}
	}
}

func TestWithoutTheSettingResponsesLeaveWithoutACoding(t *testing.T) {
	w := wires[0]
	for chain, want := range map[string]string{"shout": "AGAIN: HELLO\n!!", "stream-shout": "AGAIN: HELLO\n"} {
		for accept, asked := range map[string]string{"gzip": "identity", "gzip, identity;q=0": "gzip, identity;q=0"} {
			reply, _ := do(t, w.upstream, w.h2c, func(r *http.Request) {
				r.Header.Set("X-Encode", "gzip")
				r.Header.Set("Accept-Encoding", accept)
			}, "POST", "/"+chain+"/x", strings.NewReader("hello\n"))
			coding := map[bool]string{true: "gzip"}[asked != "identity"]
			body, err := io.ReadAll(decodedReader(strings.NewReader(reply.body), reply.Header.Get("Content-Encoding")))
			if err != nil || string(body) != want {
				t.Errorf("%s: got %q, %v", chain, body, err)
			}
			expectHeaders(t, chain, reply.Header, map[string]string{"Content-Encoding": coding, "X-Accepted": asked})
		}
	}
}

func TestAnEncodedEventGoesOutAtOnce(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		for _, codings := range everyCoding {
			for _, accept := range []string{"identity", "gzip, deflate, br, zstd"} {
				encoder := contentcoding.NewEncoder(codingsOf(codings))
				say := func(line string) string { return string(encoder.Encode([]byte(line), false)) }
				c := begin(t, w, "/encodes-stream/x", say("one\n"), func(r *http.Request) {
					r.Header.Del("X-Conversation")
					r.Header.Set("X-Encode", codings)
					r.Header.Set("Content-Encoding", codings)
					r.Header.Set("Accept-Encoding", accept)
				})
				c.lines = bufio.NewReader(decodedReader(c.Body, c.Header.Get("Content-Encoding")))
				c.hear(t, "AGAIN: ONE\n")
				c.say(say("two\n"))
				c.hear(t, "AGAIN: TWO\n")
				c.say(say("three\n"))
				c.hear(t, "AGAIN: THREE\n")
				c.say(string(encoder.Encode(nil, true)))
				encoder.Close()
				_ = c.body.Close()
				if rest, err := io.ReadAll(c.lines); err != nil || len(rest) > 0 {
					t.Errorf("%s: got %q, %v", codings, rest, err)
				}
			}
		}
	})
}

func TestABodyThatCannotBeDecodedNeverPasses(t *testing.T) {
	whole := encodedText("hello\n", "gzip")
	for name, body := range map[string][]byte{
		"garbage": []byte("hello"), "cut": whole[:len(whole)-4], "more behind": append(slices.Clone(whole), 'x'),
		"a bomb": bytes.Repeat(encodedText(strings.Repeat("\x00", 1<<20), "gzip"), 12),
	} {
		for _, chain := range []string{"encodes-buffer", "encodes-stream", "stream-mixed", "pass-bodies"} {
			reply, arrived := do(t, "http1", false, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
				"POST", "/"+chain+"/x", bytes.NewReader(body))
			want := http.StatusUnsupportedMediaType
			if name == "a bomb" && chain == "encodes-buffer" {
				want = http.StatusRequestEntityTooLarge // maxBodyBytes comes first
			}
			if reply.StatusCode != want {
				t.Errorf("%s, %s: expected %d, got %d", chain, name, want, reply.StatusCode)
			}
			begun := chain == "encodes-stream" // what could be decoded has gone on, and its request is reset
			if arrived != nil && !begun {
				t.Errorf("%s, %s: it has reached upstream: %d bytes", chain, name, len(arrived.Body))
			}
		}
	}
}
