package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	question = `{"model":"m","stream":true,"max_tokens":5,"stream_options":{"include_usage":true},"messages":[{"role":"user",` +
		`"content":"write to ada@example.com today"}]}`
	chatPath = "/v1/chat/completions"
)

// measureCompletions asks the handler for answers, over connections with a delay.
func measureCompletions(t *testing.T, handler fasthttp.RequestHandler, more ...string) completionsResult {
	t.Helper()
	dial := serve(t, handler)
	arguments := append([]string{"-url", "http://in.memory:80" + chatPath, "-text", question, "-tokens", "5", "-streams", "10",
		"-open", "500ms", "-begin", "200ms", "-duration", "300ms"}, more...)
	p, err := parseCompletionsPlan(arguments)
	if err != nil {
		t.Fatal(err)
	}
	p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return delayedConn{conn}, err
	}
	var out bytes.Buffer
	if err := p.measure(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	begin, end, _ := strings.Cut(out.String(), "end\n")
	if begin != "begin\n" {
		t.Fatalf("expected begin and end, got %q", out.String())
	}
	var got completionsResult
	if err := json.Unmarshal([]byte(end), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCompletionsMeasureFirstTokensAndWholeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := provider{every: 20 * time.Millisecond, before: "write to "}
		got := measureCompletions(t, p.handle, "-mark", "ada@example.com")
		if got.Whole.Failures != 0 || got.Whole.Count != 6 || got.Token.Count != 6 || got.Event.Count != 6 {
			t.Errorf("expected the 6 requests of 300 ms and no failure, got %+v", got)
		}
		if got.Event.P50 < 3000 || got.Event.P50 > got.Token.P50 || got.Token.P50 >= 20_000 {
			t.Errorf("expected the first event, and the first token in less than 20 ms, got %+v", got)
		}
		if got.Whole.P50 < 83_000 || got.Whole.P50 > 120_000 {
			t.Errorf("expected whole answers in 83 ms or a bit more, got %+v", got.Whole)
		}
		if got.Late.Count < 20 || got.Late.P50 < 3000 || got.Late.P50 > 20_000 {
			t.Errorf("expected tokens that are 3 ms late or a bit more, got %+v", got.Late)
		}
	})
}

func TestHeldCompletionsAreCutAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Replace(question, ":5", ":1000", 1)
		got := measureCompletions(t, provider{every: 50 * time.Millisecond}.handle, "-hold", "-open", "100ms", "-text", long)
		if got.Whole.Failures != 0 || got.Whole.Count != 0 || got.Token.Count != 10 || got.Late.Count != 60 {
			t.Errorf("expected 10 answers that are cut, and 60 tokens, got %+v", got)
		}
	})
}

func TestOtherCompletionsAreFailures(t *testing.T) {
	for _, c := range []struct {
		name, wanted string
		provider     provider
		more         []string
	}{
		{"hidden text", "got 418: expected a prompt without", provider{hidden: "ada@example.com"}, nil},
		{"other end", `ends with "bob"`, provider{before: "write to "}, []string{"-mark", "bob"}},
		{"fewer tokens", "expected 9 tokens", provider{}, []string{"-tokens", "9"}},
		{"held answer ends", "expected 5 tokens", provider{}, []string{"-hold"}},
		{"other path", "got 418: expected a path", provider{}, []string{"-url", "http://in.memory:80/other"}},
		{"no stream", "got 418: expected stream true", provider{}, []string{"-text", `{"max_tokens":1}`}},
		{"no JSON", "got 418: expected JSON", provider{}, []string{"-text", "x"}},
		{"no end", "", provider{}, []string{"-streams", "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.wanted == "" {
				if _, err := parseCompletionsPlan(append([]string{"-url", "http://h:1/", "-text", "x"}, c.more...)); err == nil {
					t.Error("expected an error")
				}
				return
			}
			synctest.Test(t, func(t *testing.T) {
				got := measureCompletions(t, c.provider.handle, c.more...)
				if got.Whole.Failures == 0 || !strings.Contains(got.Whole.FirstFailure, c.wanted) {
					t.Errorf("expected failures with %q, got %+v", c.wanted, got.Whole)
				}
			})
		})
	}
}

func TestATimeIsReadAsItWasWritten(t *testing.T) {
	moment := time.Unix(1, 23)
	if got, err := timeOfWord([]byte(timeWord(moment))); err != nil || !got.Equal(moment) {
		t.Errorf("expected %s, got %s, %v", moment, got, err)
	}
	if _, err := timeOfWord([]byte("[email:abc]")); err == nil {
		t.Error("expected an error")
	}
}

func TestPathsThatAreOpenMayHaveTheHiddenText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := measureCompletions(t, provider{hidden: "ada@example.com", open: "/v1/"}.handle)
		if got.Whole.Failures != 0 {
			t.Errorf("expected no failure, got %+v", got.Whole)
		}
	})
}
