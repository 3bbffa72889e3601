package extproc

import "testing"

func TestAnAddressHasOneForm(t *testing.T) {
	for written, plain := range map[string]string{
		"192.0.2.1:5":              "192.0.2.1:5",
		"[::ffff:192.0.2.1]:0":     "192.0.2.1:0",
		"[::FFFF:c000:201]:443":    "192.0.2.1:443",
		"[2001:db8::1]:5":          "[2001:db8::1]:5",
		"[fe80::1%eth0]:5":         "[fe80::1]:5",
		"[::ffff:192.0.2.1%e0]:80": "192.0.2.1:80",
		"/run/peer.sock":           "/run/peer.sock",
		"[nonsense]:1":             "[nonsense]:1",
		"":                         "",
	} {
		if got := normalizeAddress(written); got != plain {
			t.Errorf("%q: expected %q, got %q", written, plain, got)
		}
	}
}
