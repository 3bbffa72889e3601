package extproc_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	cases := []struct{ method, path, body, answer string }{
		{"GET", "/order/x", "", ""},
		{"GET", "/response-only/x", "", ""},
		{"POST", "/request-order/x", "hello", ""},
		{"GET", "/deny-header/x", "", ""},
		{"POST", "/deny-body/x", "hello", ""},
		{"POST", "/shout/x", "hello", ""},
		{"POST", "/shout/x", "hello", "trailers"},
		{"POST", "/shout/x", "hello", "stream"},
		{"POST", "/shout/x", "hello", "empty"},
		{"POST", "/shout/x", "hello", "204"},
		{"GET", "/shout/x", "", "304"},
		{"HEAD", "/shout/x", "", ""},
		{"GET", "/shout/x", "", ""},
		{"GET", "/shout-headers/x", "", ""},
		{"POST", "/shout-headers/x", "hello", ""},
		{"POST", "/shout-headers/x", "hello", "trailers"},
		{"HEAD", "/shout-headers/x", "", ""},
		{"GET", "/shout-headers/x", "", "204"},
		{"POST", "/pass-bodies/x", "hello", "echo"},
		{"POST", "/pass-bodies/x", strings.Repeat("x", 5<<20), "echo"},
		{"POST", "/small/x", strings.Repeat("x", 5<<20), "echo"},
		{"POST", "/small/x", "hello", "large"},
		{"POST", "/small-goes-on/x", strings.Repeat("x", 5<<20), "echo"},
		{"GET", "/panics/x", "", ""},
		{"GET", "/answers-late/x", "", ""},
		{"GET", "/status/x", "", ""},
		{"GET", "/no-content/x", "", ""},
		{"GET", "/no-content-body/x", "", ""},
		{"GET", "/reroute/x", "", ""},
		{"GET", "/headers/x", "", ""},
		{"GET", "/nowhere/x", "", ""},
		{"POST", "/nowhere-body/x", "hello", ""},
		{"GET", "/adds-body/x", "", ""},
		{"POST", "/adds-body/x", "hello", ""},
		{"GET", "/adds-body-duplex/x", "", ""},
		{"POST", "/empties-body/x", "hello", ""},
		{"GET", "/unknown/x", "", ""},
		{"GET", "/mismatch/x", "", ""},
	}
	for _, protocol := range protocols {
		for _, h2c := range []bool{false, true} {
			for n, c := range cases {
				t.Run(fmt.Sprint(protocol, h2c, n), func(t *testing.T) {
					var body io.Reader
					if c.body != "" {
						body = strings.NewReader(c.body)
					}
					r, up := do(t, protocol, h2c, func(r *http.Request) { r.Header.Set("X-Answer", c.answer) }, c.method, c.path, body)
					if len(r.body) > 100 {
						r.body = fmt.Sprint(r.body[:10], len(r.body))
					}
					s := "-"
					if up != nil {
						if len(up.Body) > 100 {
							up.Body = fmt.Sprint(up.Body[:10], len(up.Body))
						}
						s = fmt.Sprintf("%s %s %s CL%d %q %v", up.Method, up.Host, up.URI, up.ContentLength, up.Body, up.Header)
					}
					fmt.Printf("%s/%v %s %s %.10s %s\n   -> %d CL%d %q %v T%v\n   up %s\n", protocol, h2c, c.method, c.path, c.body, c.answer, r.StatusCode, r.ContentLength, r.body, r.Header, r.Trailer, s)
				})
			}
		}
	}
}
