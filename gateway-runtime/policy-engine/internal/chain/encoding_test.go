package chain_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/sdk/policy/v1alpha"
)

// encoded is text with codings, in the notation of content-encoding.
func encoded(text, codings string) string {
	parsed, err := contentcoding.ParseCodings(slices.Values([]string{codings}))
	if err != nil {
		panic(err)
	}
	encoder := contentcoding.NewEncoder(parsed)
	defer encoder.Close()
	return string(encoder.Encode([]byte(text), true))
}

// legible shows gzip and zstd as such, and other text as it is.
func legible(body []byte) string {
	coding, known := contentcoding.Gzip, len(body) > 4 && string(body[:2]) == "\x1f\x8b"
	if len(body) > 4 && string(body[:4]) == "\x28\xb5\x2f\xfd" {
		coding, known = contentcoding.Zstd, true
	}
	if !known {
		return string(body)
	}
	read := false
	decoder := contentcoding.NewDecoder([]contentcoding.Coding{coding}, func() ([]byte, error) {
		if read {
			return nil, io.EOF
		}
		read = true
		return body, nil
	})
	defer decoder.Close()
	var text []byte
	for {
		piece, err := decoder.Next()
		if text = append(text, piece...); err != nil {
			break
		}
	}
	return fmt.Sprintf("%s(%s)", coding, text)
}

// headers are pairs of name and value.
func headers(pairs ...string) v1alpha.Headers {
	var all v1alpha.Headers
	for n := 0; n < len(pairs); n += 2 {
		all = append(all, v1alpha.Header{Name: pairs[n], Value: pairs[n+1]})
	}
	return all
}

// tells is a policy that notes the headers of a body that it gets, and returns the action.
func (t *transcript) tells(name, letters string, body string, settings ...func(*chain.Settings)) *chain.Instance {
	say := func(h v1alpha.Headers) {
		t.say("%s: encoding %q, length %q", name, h.Get("content-encoding"), h.Get("content-length"))
	}
	return t.policy(&does{
		name: name,
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			say(r.Headers)
			if body == "" {
				return nil, nil
			}
			return requestBody(body), nil
		},
		response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			say(r.Headers)
			if body == "" {
				return nil, nil
			}
			return responseBody(body), nil
		},
	}, letters, settings...)
}

func encodedPost(text, codings string, more ...string) *transcript {
	body := encoded(text, codings)
	x := post(body)
	x.request.Headers = headers(append([]string{"content-encoding", codings, "content-length", fmt.Sprint(len(body))}, more...)...)
	return x
}

func encodedAnswer(text, codings string, more ...string) *transcript {
	body := encoded(text, codings)
	x := get().answers(body)
	x.response.Headers = headers(append([]string{"content-encoding", codings, "content-length", fmt.Sprint(len(body))}, more...)...)
	return x
}

func TestABodyThatIsOnlyReadGoesOnAsItCame(t *testing.T) {
	x := encodedPost("hello", "gzip", "content-digest", "sha-256=:x:")
	_ = x.run(t, x.tells("headers", "h", ""), x.tells("reads", "b", ""), x.tells("passes", "b", "", passesEncoded), x.tells("last", "h", ""))
	length := len(encoded("hello", "gzip"))
	x.expect(t, fmt.Sprintf(`
		headers: request
		headers: encoding "gzip", length "%d"
		read gzip(hello)
		reads: request body hello
		reads: encoding "", length ""
		passes: request body gzip(hello)
		passes: encoding "gzip", length "%[1]d"
		last: request
		last: encoding "gzip", length "%[1]d"
		send request body follows
		send all of gzip(hello)`, length))
}

func TestAChangedRequestBodyGoesOnWithoutCodings(t *testing.T) {
	x := encodedPost("hello", "zstd, gzip", "content-digest", "sha-256=:x:", "etag", `"v1"`, "repr-digest", "y", "content-md5", "z", "digest", "u")
	_ = x.run(t, x.tells("changes", "b", "changed"), x.tells("reads", "b", ""), x.tells("passes", "b", "", passesEncoded))
	x.expect(t, `
		read gzip(`+encoded("hello", "zstd")+`)
		changes: request body hello
		changes: encoding "", length ""
		reads: request body changed
		reads: encoding "", length "`+fmt.Sprint(len(encoded("hello", "zstd, gzip")))+`"
		passes: request body changed
		passes: encoding "", length "`+fmt.Sprint(len(encoded("hello", "zstd, gzip")))+`"
		send request remove=content-encoding,digest,content-digest,repr-digest,content-md5 set=etag:W/"v1",content-length:7 body follows
		send all of changed`)
}

func TestHeadersThatAPolicySetsForItsBodyStay(t *testing.T) {
	x := encodedPost("hello", "gzip", "content-digest", "sha-256=:x:", "etag", `"v1"`)
	own := requestBody("changed")
	own.Headers = v1alpha.HeaderModifications{Set: headers("content-digest", "sha-256=:y:", "etag", `"v2"`)}
	_ = x.run(t, x.onRequest("changes", "b", own, nil))
	if got := x.lines[2]; got != `send request remove=content-encoding set=content-digest:sha-256=:y:,etag:"v2",content-length:7 body follows` {
		t.Error(got)
	}
}

func TestEveryCodingIsDecoded(t *testing.T) {
	for _, codings := range []string{"gzip", "deflate", "br", "zstd", "x-gzip", "GZIP, Br", "deflate, zstd, gzip, br"} {
		x := encodedPost("hello", codings)
		_ = x.run(t, x.marks("reads", "b"))
		if x.lines[1] != "reads: request body hello" {
			t.Errorf("%s: got %q", codings, x.lines)
		}
		x = encodedAnswer("hello", codings)
		_ = x.run(t, x.marks("reads", "B"))
		if x.lines[3] != "reads: response 200 body hello" {
			t.Errorf("%s: got %q", codings, x.lines)
		}
	}
}

func TestABodyThatCannotBeDecodedIsRefused(t *testing.T) {
	whole := encoded("hello", "gzip")
	for name, x := range map[string]*transcript{
		"unknown":   encodedPost("hello", "gzip"),
		"truncated": post(whole[:len(whole)-3]),
		"garbage":   post("zip"),
		"behind":    post(whole, "more"),
	} {
		coding := "gzip"
		if name == "unknown" {
			coding = "compress"
		}
		x.request.Headers = append(headers("content-encoding", coding), x.request.Headers...)
		_ = x.run(t, x.marks("reads", "b"))
		if last := x.lines[len(x.lines)-1]; last != unsupported {
			t.Errorf("%s: got %s", name, last)
		}
	}
}

func TestTheLimitIsThatOfTheDecodedBody(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for most, want := range map[int64]string{
		1000: "reads: request body " + text,
		999:  "answer 413 policy_bodyTooLarge",
		10:   "answer 413 policy_bodyTooLarge",
	} {
		x := encodedPost(text, "gzip")
		_ = x.run(t, x.marks("reads", "b", limit(most)))
		if last := slices.IndexFunc(x.lines, func(line string) bool { return strings.HasPrefix(line, want) }); last < 0 {
			t.Errorf("%d: got %.300q", most, x.lines)
		}
		if most == 10 && strings.HasPrefix(x.lines[0], "read") {
			t.Error("what its content-length refuses has been read")
		}
	}
	x := encodedPost(text, "gzip")
	_ = x.run(t, x.marks("small", "b", limit(999), goesOn), x.marks("large", "b"))
	if got := strings.Join(x.lines, "\n"); strings.Contains(got, "small:") || !strings.Contains(got, "large: request body xxx") {
		t.Errorf("expected the larger limit to be met, got %s", got)
	}
}

// bomb decodes to more than any body may.
var bomb = strings.Repeat("\x00", contentcoding.BombFloor+2<<20)

func TestABombIsRefused(t *testing.T) {
	x := encodedPost(bomb, "zstd")
	_ = x.run(t, x.marks("reads", "b", limit(1<<30)))
	if last := x.lines[len(x.lines)-1]; last != unsupported {
		t.Errorf("got %.300s", last)
	}
}

func TestTheRequestsBodyIsDecodedInTheResponsePhaseToo(t *testing.T) {
	x := encodedPost("hello", "br")
	_ = x.run(t, x.sees("asks", "bH", keepsBody))
	x.expect(t, `
		read `+encoded("hello", "br")+`
		asks: request body hello
		send request body follows
		send all of `+encoded("hello", "br")+`
		wait for the response
		asks: response 200
		asks: to request body "hello", nil false
		send response`)
}

func TestAcceptEncodingOfTheUpstreamRequest(t *testing.T) {
	for _, test := range []struct {
		accept  string
		encodes bool
		letters string
		more    func(*chain.Settings)
		want    string
	}{
		{"gzip, br", false, "B", nil, "identity"},
		{"", false, "B", nil, "identity"},
		{"gzip, br, compress", true, "B", nil, "gzip, br"},
		{"compress", true, "B", nil, "identity"},
		{"", true, "B", nil, "identity"},
		{"gzip, identity;q=0", false, "B", nil, "gzip, identity;q=0"},
		{"gzip, compress, *;q=0", false, "B", nil, "gzip"},
		{"gzip, identity;q=0", false, "B", refusesEncoded, "identity"},
		{"gzip, br", true, "B", refusesEncoded, "identity"},
	} {
		x := get()
		x.encodes = test.encodes
		if x.request.Headers = nil; test.accept != "" {
			x.request.Headers = headers("accept-encoding", test.accept)
		}
		more := test.more
		if more == nil {
			more = func(*chain.Settings) {}
		}
		_ = x.run(t, x.marks("reads", test.letters, more))
		want := "send request set=accept-encoding:" + test.want
		if test.accept == test.want {
			want = "send request"
		}
		if x.lines[0] != want {
			t.Errorf("%+v: got %s", test, x.lines[0])
		}
	}
}

func TestTheClientGetsACodingThatItAccepts(t *testing.T) {
	const changed = "changed"
	gzipLength := fmt.Sprint(len(encoded(changed, "gzip")))
	for name, test := range map[string]struct {
		accept  string
		encodes bool
		body    string // the policy's; "": it only reads
		control string
		want    []string // of the response
	}{
		"only read": {"gzip", false, "", "", []string{"send response remove=accept-ranges body follows", "send all of gzip(hello)"}},
		"only read, not accepted": {"br", false, "", "", []string{
			"send response remove=content-encoding,content-digest,accept-ranges set=etag:W/\"v1\",vary:accept-encoding,content-length:5 body follows", "send all of hello"}},
		"only read, not accepted, not to be transformed": {"br", false, "", "public, No-Transform", []string{"send response remove=accept-ranges body follows", "send all of gzip(hello)"}},
		"only read, nothing accepted":                    {"br, identity;q=0", false, "", "", []string{"send response remove=accept-ranges body follows", "send all of gzip(hello)"}},
		"changed": {"gzip", false, changed, "", []string{
			"send response remove=content-encoding,content-digest,accept-ranges set=etag:W/\"v1\",vary:accept-encoding,content-length:7 body follows", "send all of changed"}},
		"changed, encoded by setting": {"gzip", true, changed, "", []string{
			"send response remove=content-digest,accept-ranges set=etag:W/\"v1\",vary:accept-encoding,content-length:" + gzipLength + " body follows", "send all of gzip(changed)"}},
		"changed, encoded by setting, not accepted": {"br", true, changed, "", []string{
			"send response remove=content-encoding,content-digest,accept-ranges set=etag:W/\"v1\",vary:accept-encoding,content-length:7 body follows", "send all of changed"}},
		"changed, identity is not accepted": {"gzip, identity;q=0", false, changed, "", []string{
			"send response remove=content-digest,accept-ranges set=etag:W/\"v1\",vary:accept-encoding,content-length:" + gzipLength + " body follows", "send all of gzip(changed)"}},
		"changed, not to be transformed": {"gzip", false, changed, "no-transform", []string{
			"send response remove=content-digest,accept-ranges set=etag:W/\"v1\",vary:accept-encoding,content-length:" + gzipLength + " body follows", "send all of gzip(changed)"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := encodedAnswer("hello", "gzip", "content-digest", "sha-256=:x:", "etag", `"v1"`, "accept-ranges", "bytes")
			if test.control != "" {
				x.response.Headers = append(x.response.Headers, headers("cache-control", test.control)...)
			}
			x.encodes, x.request.Headers = test.encodes, headers("accept-encoding", test.accept)
			_ = x.run(t, x.tells("policy", "B", test.body))
			got := x.lines[len(x.lines)-2:]
			if !slices.Equal(got, test.want) {
				t.Errorf("expected\n%s\ngot\n%s", strings.Join(test.want, "\n"), strings.Join(got, "\n"))
			}
		})
	}
}

func TestVaryIsNotRepeated(t *testing.T) {
	for _, vary := range []string{"accept-encoding", "Origin, Accept-Encoding", "*"} {
		x := encodedAnswer("hello", "gzip", "vary", vary)
		_ = x.run(t, x.tells("policy", "B", "changed"))
		if got := x.lines[len(x.lines)-2]; strings.Contains(got, "vary") {
			t.Errorf("%s: got %s", vary, got)
		}
	}
}

func TestACodingOfThePolicysOwnStays(t *testing.T) {
	x := encodedAnswer("hello", "gzip")
	x.encodes, x.request.Headers = true, headers("accept-encoding", "gzip")
	own := responseBody(encoded("changed", "zstd"))
	own.Headers = sets("content-encoding", "zstd")
	_ = x.run(t, x.onResponse("encodes", "B", own, nil))
	if got := x.lines[len(x.lines)-1]; got != "send all of zstd(changed)" {
		t.Errorf("got %s", got)
	}
}

func TestAnAnswerWithoutABodyIsNotEncoded(t *testing.T) {
	for _, status := range []int{204, 304} {
		x := encodedAnswer("", "gzip")
		x.encodes, x.response.Status, x.responsePieces = true, status, nil
		x.request.Headers = headers("accept-encoding", "gzip")
		_ = x.run(t, x.tells("policy", "B", ""))
		if last := x.lines[len(x.lines)-1]; strings.Contains(last, "gzip(") {
			t.Errorf("%d: got %s", status, last)
		}
	}
	x := encodedAnswer("hello", "gzip")
	x.request.Method, x.encodes, x.responsePieces = "HEAD", true, nil
	x.request.Headers = headers("accept-encoding", "gzip")
	_ = x.run(t, x.tells("policy", "B", "changed"))
	if got := strings.Join(x.lines, "\n"); strings.Contains(got, "gzip(") {
		t.Errorf("HEAD: got %s", got)
	}
}
