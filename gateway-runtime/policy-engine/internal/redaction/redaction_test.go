package redaction_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/policy-engine/internal/redaction"
)

const (
	secret = "hunter2hunter2"
	mark   = redaction.Mark
)

var list = redaction.New(&nodev1.Redaction{
	Headers:         []string{"authorization", "cookie", "x-secret*"},
	QueryParameters: []string{"token", "api_key", "key"},
	Fields:          []string{"token", "access_token", "client_secret", "password*", "card"},
})

func TestHeadersOfTheListAreSecrets(t *testing.T) {
	for name, expected := range map[string]bool{
		"authorization": true, "Authorization": true, "x-secret": true, "x-secret-of-mine": true, "X_Secret_": true,
		"x-my-secret": false, "accept": false, "": false, "authorization2": false,
	} {
		if got := list.Header(name); got != expected {
			t.Errorf("%q: expected %v, got %v", name, expected, got)
		}
	}
}

func TestValuesOfHeaders(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	for _, c := range []struct{ name, value, shown string }{
		{"cookie", "a=b", mark},
		{"accept", "text/html;q=0.9, */*", "text/html;q=0.9, */*"},
		{"x-user", jwt, mark},
		{"x-forwarded", "Bearer abc.def", "Bearer " + mark},
		{"x-forwarded", "bearer  abc", "bearer  " + mark},
		{"x-forwarded", "Basic dXNlcjpwYXNz", "Basic " + mark},
		{"x-note", "basic information", "basic information"},
		{"x-note", "before " + jwt + " after", "before " + mark + " after"},
		{"x-cut", jwt[:len(jwt)/2], mark},
		{"referer", "https://a.example/b?c=d&token=e#f", "https://a.example/b?c=d&token=" + mark + "#f"},
		{"location", "https://ann:secret@a.example/b", "https://" + mark + "@a.example/b"},
		{"location", "https://a.example/b#access=1&token=2", "https://a.example/b#access=1&token=" + mark},
		{"date", "Thu, 26 Nov 2026 17:08:34 GMT", "Thu, 26 Nov 2026 17:08:34 GMT"},
	} {
		if got, _ := list.HeaderValue(c.name, c.value); got != c.shown {
			t.Errorf("%s: %s: expected %s, got %s", c.name, c.value, c.shown, got)
		}
	}
}

func TestQueries(t *testing.T) {
	for _, c := range []struct {
		raw, shown string
		count      int
	}{
		{"", "", 0},
		{"a=b&c", "a=b&c", 0},
		{"a=%2F+%zz&b=", "a=%2F+%zz&b=", 0},
		{"token=1", "token=" + mark, 1},
		{"a=1&TOKEN=1;api-key=2&&b", "a=1&TOKEN=" + mark + ";api-key=" + mark + "&&b", 2},
		{"%74oken=1", "%74oken=" + mark, 1},
		{"%zz=1", "%zz=" + mark, 1},
		{"user[token]=1&token[]=2", "user[token]=" + mark + "&token[]=" + mark, 2},
		{"token", "token", 0},
		{"key==a", "key=" + mark, 1},
		{"filter=%7B%22token%22%3A1%7D", "filter=%7B%22token%22%3A%22%5Bredacted%5D%22%7D", 1},
		{"filter={\"token\":1}", `filter={"token":"` + mark + `"}`, 1},
		{"next=%2Fa%3Ftoken%3D1", "next=%2Fa%3Ftoken%3D%5Bredacted%5D", 1},
		{"a=Bearer%20abc", "a=Bearer+%5Bredacted%5D", 1},
		{"eyJhbGciOiJIUzI1NiJ9.e30.c2ln", mark, 1},
	} {
		got, count := list.Query(c.raw)
		if got != c.shown || count != c.count {
			t.Errorf("%s: expected %s (%d), got %s (%d)", c.raw, c.shown, c.count, got, count)
		}
		if got, _ := list.Path("/x/y?" + c.raw); !strings.HasPrefix(got, "/x/y?") || got != "/x/y?"+c.shown {
			t.Errorf("path of %s: got %s", c.raw, got)
		}
	}
}

func TestBodies(t *testing.T) {
	multipart := func(parts ...string) string {
		return "--b\r\n" + strings.Join(parts, "\r\n--b\r\n")
	}
	field := func(name, value string) string {
		return `Content-Disposition: form-data; name="` + name + "\"\r\n\r\n" + value
	}
	for _, c := range []struct{ kind, body, shown string }{
		{"application/json", `{"a": 1, "b": [true, null, "x"]}`, `{"a": 1, "b": [true, null, "x"]}`},
		{"application/json", `{"token": {"a": [1, "b"]}, "c": "d"}`, `{"token": "` + mark + `", "c": "d"}`},
		{"application/problem+json; charset=utf-8", `[{"accessToken":"x"}]`, `[{"accessToken":"` + mark + `"}]`},
		{"application/json", `{"\u0074oken" : 7}`, `{"\u0074oken" : "` + mark + `"}`},
		{"application/json", `{"a":1,"token":"abc`, `{"a":1,"token":"` + mark + `"`},
		{"application/json", `{"a":1,"token":["abc", {"d"`, `{"a":1,"token":"` + mark + `"`},
		{"application/json", `{"a":1,"tok`, `{"a":1,"tok`},
		{"application/json", `{"a":12.`, `{"a":12.`},
		{"application/json", `{"a":tru`, `{"a":tru`},
		{"application/json", `{"a":"b\u00`, `{"a":"` + mark},
		{"application/json", `{"a":1, token: "abc"}`, `{"a":1, ` + mark},
		{"application/json", `{"token":'abc','a':1}`, `{"token":"` + mark + `"` + mark},
		{"application/json", `token=abc`, mark},
		{"application/json", `tnull`, mark},
		{"application/json", "{\"a\":1}\n{\"token\":2}\n", "{\"a\":1}\n{\"token\":\"" + mark + "\"}\n"},
		{"application/json", `{"a":"{\"token\":\"x\"}"}`, `{"a":"{\"token\":\"` + mark + `\"}"}`},
		{"application/json", `{"a":"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}`, `{"a":"` + mark + `"}`},
		{"application/json", `{"a":"password=x y"}`, `{"a":"password=` + mark + ` y"}`},
		{"application/json", strings.Repeat("[", 300), strings.Repeat("[", 200) + mark},
		{"application/x-ndjson", "{\"token\":2}", "{\"token\":\"" + mark + "\"}"},
		{"application/x-www-form-urlencoded", "a=b&client_secret=x&key=y", "a=b&client_secret=" + mark + "&key=" + mark},
		{"application/x-www-form-urlencoded", "a=b&password=x%", "a=b&password=" + mark},
		{"application/x-www-form-urlencoded", `{"token":"x"}`, mark},
		{"application/x-www-form-urlencoded", `{"token":"a=b"}`, mark},
		{"multipart/form-data; boundary=b", multipart(field("a", "1"), field("token", "2"), field("c", "3\r\n--b--\r\n")),
			multipart(field("a", "1"), field("token", mark), field("c", "3\r\n--b--\r\n"))},
		{"multipart/form-data; boundary=b", multipart(field("a", "1"), field("token", "2")), multipart(field("a", "1"), field("token", mark))},
		{"multipart/form-data; boundary=b", multipart(field("a", "1"), `Content-Disposition: form-data; name="tok`), multipart(field("a", "1"), mark) + "\r\n"},
		{"multipart/form-data", multipart(field("a", "1")), mark},
		{"application/xml", `<?xml version="1.0"?><a b="c"><p:token x="1">abc<d/></p:token> <e token="z"/></a>`,
			`<?xml version="1.0"?><a b="c"><p:token>` + mark + `</p:token> <e token="` + mark + `"></e></a>`},
		{"application/soap+xml", `<a><token>ab`, `<a><token>` + mark},
		{"text/xml", `<a><tok`, `<a>` + mark},
		{"text/xml", `<a>b<c/></a>`, `<a>b<c/></a>`},
		{"text/plain", "hello: world", "hello: world"},
		{"text/plain", `{"token":"x"}`, `{"token":"` + mark + `"}`},
		{"text/plain", "user: ann\npassword: x\nnext", "user: ann\npassword: " + mark + "\nnext"},
		{"text/event-stream", "data: {\"token\": \"x\"}\n\n", "data: {\"token\": \"" + mark + "\"}\n\n"},
		{"", "a=1&token=2", "a=1&token=" + mark},
		{"", `{"a":1,"token":2`, `{"a":1,"token":"` + mark + `"`},
		{"application/octet-stream", "\xff\xfe eyJhbGciOiJIUzI1NiJ9.e30.c2ln \x00", "\xff\xfe " + mark + " \x00"},
		{"application/json", "\x1f\x8b\x08\x00", mark},
		{"no type/ at all", "password=x", "password=" + mark},
	} {
		got, count := list.Body(c.kind, []byte(c.body))
		if string(got) != c.shown {
			t.Errorf("%s:\n%q\nexpected\n%q\ngot\n%q", c.kind, c.body, c.shown, got)
		}
		if (count > 0) != (c.shown != c.body) {
			t.Errorf("%s: %s: got %d", c.kind, c.body, count)
		}
	}
}

func TestTextOfLogLines(t *testing.T) {
	for text, shown := range map[string]string{
		"GET /a?token=x&b=c HTTP/1.1":                  "GET /a?token=" + mark + "&b=c HTTP/1.1",
		"/y?b=c;api-key=x&user[token]=y":               "/y?b=c;api-key=" + mark + "&user[token]=" + mark,
		"cannot connect to redis://:pw@cache:6379/0":   "cannot connect to redis://" + mark + "@cache:6379/0",
		`headers: {"Authorization": "Basic eHg6eXk="}`: `headers: {"Authorization": ` + mark + `}`,
		"Cookie: a=b; c=d\nnext: 1":                    "Cookie: " + mark + "\nnext: 1",
		"authorization=Bearer abc":                     "authorization=" + mark,
		"{'password': 'a b', 'user': 'ann'}":           "{'password': " + mark + ", 'user': 'ann'}",
		"error: a: password: x":                        "error: a: password: " + mark,
		"12:30:01 at line: 3 count=7":                  "12:30:01 at line: 3 count=7",
		`{\"password\":\"x\"}`:                         `{\"password\":` + mark + `}`,
	} {
		if got, _ := list.Text(text); got != shown {
			t.Errorf("%s: expected %s, got %s", text, shown, got)
		}
	}
}

func TestFieldsAreCopied(t *testing.T) {
	fields := map[string]any{"a": 1, "token": "x", "b": map[string]any{"Access-Token": []any{1}}, "c": []any{"Bearer abcdef", map[string]any{"card": 1}}}
	before := fmt.Sprint(fields)
	got, count := list.Fields(fields)
	expected := map[string]any{"a": 1, "token": mark, "b": map[string]any{"Access-Token": mark}, "c": []any{"Bearer " + mark, map[string]any{"card": mark}}}
	if !reflect.DeepEqual(got, expected) || count != 4 {
		t.Errorf("expected %v, got %v (%d)", expected, got, count)
	}
	if fmt.Sprint(fields) != before {
		t.Errorf("expected what was given to stay, got %v", fields)
	}
	if none, _ := list.Fields(nil); none != nil {
		t.Errorf("expected nil, got %v", none)
	}
}

func TestWithoutAListAllNamedValuesAreSecret(t *testing.T) {
	for _, unknown := range []*redaction.List{nil, redaction.New(nil)} {
		query, _ := unknown.Query("a=b&c&" + secret)
		body, _ := unknown.Body("text/plain", []byte(secret))
		fields, _ := unknown.Fields(map[string]any{"a": secret})
		value, _ := unknown.HeaderValue("accept", secret)
		text, _ := unknown.Text("a: " + secret + " b=" + secret)
		if all := fmt.Sprint(query, string(body), fields, value, text, unknown.Header("accept")); strings.Contains(all, secret) {
			t.Error(all)
		}
	}
}

var names = rapid.SampledFrom([]string{"token", "Access_Token", "password", "passwordHash", "a", "b", "name", "cards"})

func document() *rapid.Generator[any] {
	leaf := rapid.OneOf(rapid.Just[any](secret), rapid.Just[any]("plain \" \\ é"), rapid.Just[any](1.5), rapid.Just[any](nil), rapid.Just[any](true))
	return rapid.OneOf(leaf, rapid.Custom(func(t *rapid.T) any {
		if rapid.Bool().Draw(t, "object") {
			return rapid.MapOfN(names, rapid.Deferred(document), 0, 4).Draw(t, "members")
		}
		return rapid.SliceOfN(rapid.Deferred(document), 0, 4).Draw(t, "items")
	}))
}

// expected returns the redacted form of a document, by an independent rule.
func expected(value any) any {
	switch value := value.(type) {
	case map[string]any:
		shown := map[string]any{}
		for name, inner := range value {
			shown[name] = expected(inner)
			if slices.Contains([]string{"token", "Access_Token", "password", "passwordHash"}, name) {
				shown[name] = mark
			}
		}
		return shown
	case []any:
		shown := []any{}
		for _, inner := range value {
			shown = append(shown, expected(inner))
		}
		return shown
	}
	return value
}

func TestJSONIsUnchangedExceptForItsSecrets(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		input, _ := json.Marshal(document().Draw(t, "document"))
		var before, after any
		_ = json.Unmarshal(input, &before)
		shown, count := list.Body("application/json", input)
		if err := json.Unmarshal(shown, &after); err != nil || !reflect.DeepEqual(after, expected(before)) {
			t.Fatalf("%s: expected %v, got %s: %v", input, expected(before), shown, err)
		}
		if count == 0 && string(shown) != string(input) {
			t.Fatalf("nothing was redacted, and %s became %s", input, shown)
		}
	})
}

// A body that is truncated anywhere shows only the beginning of the redacted whole.
func TestATruncatedBodyShowsNoSecret(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		values := map[string]any{"token": document().Draw(t, "secret"), "a": document().Draw(t, "open"), "password": secret}
		input, _ := json.Marshal(hideOpen(values))
		cut := rapid.IntRange(0, len(input)).Draw(t, "cut")
		for _, kind := range []string{"application/json", "", "text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x"} {
			if shown, _ := list.Body(kind, input[:cut]); strings.Contains(string(shown), secret[:6]) {
				t.Fatalf("%s: %s became %s", kind, input[:cut], shown)
			}
		}
		form := url.Values{"a": {"b"}, "token": {secret}, "password": {secret}}.Encode()
		cut = rapid.IntRange(0, len(form)).Draw(t, "cut form")
		for _, kind := range []string{"application/x-www-form-urlencoded", ""} {
			if shown, _ := list.Body(kind, []byte(form[:cut])); strings.Contains(string(shown), secret[:6]) {
				t.Fatalf("%s became %s", form[:cut], shown)
			}
		}
	})
}

// hideOpen removes the secret except behind secret names.
func hideOpen(value any) any {
	switch value := value.(type) {
	case map[string]any:
		shown := maps.Clone(value)
		for name, inner := range value {
			if !slices.Contains([]string{"token", "Access_Token", "password", "passwordHash"}, name) {
				shown[name] = hideOpen(inner)
			}
		}
		return shown
	case []any:
		shown := []any{}
		for _, inner := range value {
			shown = append(shown, hideOpen(inner))
		}
		return shown
	case string:
		return "open"
	}
	return value
}

func TestQueriesKeepWhatIsNoSecret(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.StringMatching(`[a-z%+]{1,6}(=[a-zA-Z0-9%+/=?é]{0,8})?`)).Draw(t, "pieces")
		raw := strings.Join(pieces, "&")
		shown, count := list.Query(raw)
		if count == 0 && shown != raw {
			t.Fatalf("%s became %s", raw, shown)
		}
		again, more := list.Query(shown)
		if again != shown && more == 0 {
			t.Fatalf("%s became %s, and that %s", raw, shown, again)
		}
	})
}

// FuzzBody: for a body of any bytes, under any content type, the output has no value of a secret field of it as JSON, a form or
// XML, wherever it is cut.
func FuzzBody(f *testing.F) {
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/xml", "text/plain", ""} {
		f.Add(kind, []byte(`{"a":"\u00e9","b":[1,{"c":null}]`), uint16(9))
		f.Add(kind, []byte("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--"), uint16(0))
		f.Add(kind, []byte(`<a b="c"><![CDATA[d]]><!-- e --></a>`), uint16(3))
		f.Add(kind, []byte("a=b&c=%20;d"), uint16(4))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte, keep uint16) {
		shown, count := list.Body(kind, body)
		if count == 0 && string(shown) != string(body) {
			t.Fatalf("nothing was redacted, and %q became %q", body, shown)
		}
		document, _ := json.Marshal(map[string]any{"open": string(body), "token": secret, "z": map[string]any{"password": secret}})
		for _, kind := range []string{"application/json", ""} {
			if shown, _ := list.Body(kind, document[:min(len(document), int(keep))]); strings.Contains(string(shown), secret) {
				t.Fatalf("%q became %q", document, shown)
			}
		}
	})
}

// TestFieldsOfOtherTypes: metadata of a policy in Go may have types that decoded JSON does not have.
func TestFieldsOfOtherTypes(t *testing.T) {
	list := redaction.New(&nodev1.Redaction{Headers: []string{"authorization"}, Fields: []string{"password"}})
	type login struct {
		User     string `json:"user"`
		Password string `json:"password"`
	}
	shown, count := list.Fields(map[string]any{
		"map": map[string]string{"password": "hunter2"}, "lists": map[string][]string{"password": {"hunter2"}}, "list": []string{"Bearer hunter2hunter2"},
		"struct": &login{"ann", "hunter2"}, "raw": json.RawMessage(`{"password":"hunter2"}`), "error": make(chan string),
		"text": fmt.Sprint, "number": uint8(7), "large": []uint64{1 << 63}, "nothing": nil, "yes": true,
	})
	text, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"error":"[redacted]","large":[9223372036854775808],"list":["Bearer [redacted]"],"lists":{"password":"[redacted]"},` +
		`"map":{"password":"[redacted]"},"nothing":null,"number":7,"raw":{"password":"[redacted]"},` +
		`"struct":{"password":"[redacted]","user":"ann"},"text":"[redacted]","yes":true}`
	if string(text) != want || count != 7 {
		t.Errorf("expected %s, got %s, %d secrets", want, text, count)
	}
}
