package recording_test

import (
	"testing"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/sdk/policy/v1alpha"
)

// asked is a request as clients send them, with its response.
func asked() *front {
	f := get("/orders/4711?expand=lines")
	for _, header := range [][2]string{
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"},
		{"accept", "application/json, text/plain, */*"}, {"accept-encoding", "gzip, deflate, br"}, {"accept-language", "en-US,en;q=0.9"},
		{"authorization", "Bearer abcdefghijklmnopqrstuvwxyz"}, {"x-forwarded-for", "192.0.2.1"}, {"x-forwarded-proto", "https"},
	} {
		f.with(header[0], header[1])
	}
	f.response.Headers = v1alpha.Headers{{Name: "content-type", Value: "application/json"}, {Name: "content-length", Value: "2"}, {Name: "date", Value: "Thu, 26 Nov 2026 17:00:00 GMT"}}
	return f
}

// BenchmarkExchange is an exchange of two policies that set a header each way, without and with a recording of it.
func BenchmarkExchange(b *testing.B) {
	both := func(name string) does {
		set := v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: name, Value: "1"}}}
		return does{
			request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
				return &v1alpha.UpstreamRequestModifications{Headers: set}, nil
			},
			response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
				return &v1alpha.UpstreamResponseModifications{Headers: set}, nil
			},
		}
	}
	for name, records := range map[string]bool{"off": false, "recorded": true} {
		b.Run(name, func(b *testing.B) {
			g := newGateway(b, enough, policy("one", "hH", both("x-one")), policy("two", "hH", both("x-two")))
			g.recorder.Configure(&nodev1.Recording{MaxBytes: enough, BodyBytes: 16 << 10}, usual)
			if records {
				if _, err := g.recorder.Start(recording.Filter{}, time.Minute); err != nil {
					b.Fatal(err)
				}
			}
			f := asked()
			b.ReportAllocs()
			for b.Loop() {
				if err := g.server.Serve(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
			for _, status := range g.recorder.Stats().Recordings {
				g.recorder.Stop(status.ID)
			}
		})
	}
}

// usual is a list as long as a Gateway's.
var usual = redaction.New(&nodev1.Redaction{
	Headers:         []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "dpop", "x-api-key", "api-key", "x-auth", "x-auth-token", "x-access-token", "x-secret*", "x-hub-signature*", "x-password"},
	QueryParameters: []string{"token", "access_token", "id_token", "key", "password*", "secret*", "credential*", "sig", "signature"},
	Fields:          []string{"token", "access_token", "password*", "secret*", "credential*", "authorization", "cookie"},
})
