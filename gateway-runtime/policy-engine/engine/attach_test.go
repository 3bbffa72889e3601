package engine

import (
	"strings"
	"testing"
)

// TestWhereOtherEnvoysMayConnect: from other machines only with a certificate, or where that is said to be meant.
func TestWhereOtherEnvoysMayConnect(t *testing.T) {
	for _, test := range []struct {
		listen AttachListen
		want   []string // mistakes; none: it may be
	}{
		{listen: AttachListen{}},
		{listen: AttachListen{Address: "127.0.0.1:9002"}},
		{listen: AttachListen{Address: "[::1]:9002"}},
		{listen: AttachListen{Address: "localhost:9002"}},
		{listen: AttachListen{Address: "0.0.0.0:9002", Clear: true}},
		{AttachListen{Address: "0.0.0.0:9002"}, []string{"--attach-listen: expected an address of this machine alone", "--attach-clear"}},
		{AttachListen{Address: ":9002"}, []string{"--attach-listen: expected an address of this machine alone"}},
		{AttachListen{Address: "engine:9002"}, []string{"--attach-listen: expected an address of this machine alone"}},
		{AttachListen{Address: "9002"}, []string{`--attach-listen: expected HOST:PORT, got "9002"`}},
		{AttachListen{Address: "127.0.0.1:9002", Authority: "/none"}, []string{
			"--attach-certificate and --attach-key: expected a certificate with its key", "--attach-authority: expected a file with certificates",
		}},
		{AttachListen{Address: "0.0.0.0:9002", Certificate: "/none", Key: "/none"}, []string{"--attach-certificate and --attach-key: expected a certificate with its key"}},
	} {
		err := test.listen.Check()
		if (err == nil) != (len(test.want) == 0) {
			t.Errorf("%+v: expected %q, got %v", test.listen, test.want, err)
		}
		for _, mistake := range test.want {
			if err == nil || !strings.Contains(err.Error(), mistake) {
				t.Errorf("%+v: expected %q, got %v", test.listen, mistake, err)
			}
		}
	}
}
