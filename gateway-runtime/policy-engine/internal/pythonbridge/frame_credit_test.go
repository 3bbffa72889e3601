package pythonbridge

import (
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
)

func TestCreditComesBackWithAcknowledgementsOnly(t *testing.T) {
	c := frameCredit{limit: 2}
	for want := uint64(1); want <= 2; want++ {
		if !c.available() || c.next() != want {
			t.Fatalf("expected credit for frame %d, got %v for %d", want, c.available(), c.next())
		}
		c.countSent()
	}
	if c.available() || c.idle() || c.hasRead(1) {
		t.Fatalf("expected no credit and nothing read, got %+v", c)
	}
	if more, err := c.acknowledge(1); !more || err != nil || !c.available() || !c.hasRead(1) || c.hasRead(2) {
		t.Fatalf("expected credit for one more, got %v, %v, %+v", more, err, c)
	}
	if more, err := c.acknowledge(0); more || err != nil || !c.hasRead(1) {
		t.Fatalf("expected an older acknowledgement to change nothing, got %v, %v, %+v", more, err, c)
	}
	if _, err := c.acknowledge(3); err == nil || c.acknowledged != 1 {
		t.Fatalf("expected more than was sent to be refused, got %v, %+v", err, c)
	}
	if c.reset(); !c.idle() || c.next() != 1 || c.total != 2 {
		t.Fatalf("expected a new stream to start with all its credit, and the total to stay, got %+v", c)
	}
}

func TestNeverMoreThanTheLimitIsUnacknowledged(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		c := frameCredit{limit: uint64(rapid.IntRange(1, 4).Draw(t, "limit"))}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(*rapid.T) {
				if c.available() {
					c.countSent()
				}
			},
			"acknowledge": func(t *rapid.T) {
				frames, sent, before := rapid.Uint64Range(0, 20).Draw(t, "frames"), c.sent, c.acknowledged
				if more, err := c.acknowledge(frames); (err != nil) != (frames > sent) || more != (err == nil && frames > before) {
					t.Fatalf("%d of %d acknowledged after %d: got %v, %v", frames, sent, before, more, err)
				}
			},
			"": func(t *rapid.T) {
				if c.acknowledged > c.sent || c.sent-c.acknowledged > c.limit {
					t.Fatalf("%+v", c)
				}
			},
		})
	})
}
