package grpcstream_test

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
)

// crowd is a peer that acts at random on several streams, whose messages are echoed.
type crowd struct {
	*peer
	streams []*talk
}

// talk is one of its streams.
type talk struct {
	id     uint32
	sent   []byte // messages
	unsent []byte // their end
	over   bool   // nothing more is said
	gone   bool   // it was reset
}

// Sizes of messages, and of windows, in bytes.
var (
	anySize   = rapid.SampledFrom([]int{0, 1, 10, 1000, 16_379, 16_380, 40_000})
	anyWindow = rapid.SampledFrom([]int{0, 1, 100, 5000, 16_384, 50_000})
)

const talkLimit = 200 << 10 // what a stream says in all, in bytes

// drawStream draws an open stream, or nil.
func (c *crowd) drawStream(t *rapid.T) *talk {
	var open []*talk
	for _, stream := range c.streams {
		if !stream.over {
			open = append(open, stream)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return rapid.SampledFrom(open).Draw(t, "stream")
}

func (c *crowd) begin(*rapid.T) {
	stream := &talk{id: uint32(2*len(c.streams) + 1)}
	c.streams = append(c.streams, stream)
	c.open(stream.id)
}

func (c *crowd) say(t *rapid.T) {
	size := anySize.Draw(t, "size")
	if stream := c.drawStream(t); stream != nil && len(stream.sent)+size < talkLimit {
		whole := message(string(pattern(size)))
		stream.sent = append(stream.sent, whole...)
		stream.unsent = append(stream.unsent, whole...)
	}
}

func (c *crowd) sendSome(t *rapid.T) {
	if stream := c.drawStream(t); stream != nil {
		cut := rapid.IntRange(0, min(len(stream.unsent), c.ours.room(stream.id))).Draw(t, "bytes") // more would wait for the handler
		c.data(stream.id, stream.unsent[:cut])
		stream.unsent = stream.unsent[cut:]
	}
}

func (c *crowd) halfClose(t *rapid.T) {
	if stream := c.drawStream(t); stream != nil && len(stream.unsent) <= c.ours.room(stream.id) {
		c.finish(stream)
	}
}

func (c *crowd) finish(stream *talk) {
	c.data(stream.id, stream.unsent)
	c.end(stream.id)
	stream.over = true
}

func (c *crowd) cutOff(t *rapid.T) {
	if stream := c.drawStream(t); stream != nil {
		c.reset(stream.id)
		stream.over, stream.gone = true, true
	}
}

func (c *crowd) giveCredit(t *rapid.T) {
	id := rapid.IntRange(0, len(c.streams)).Draw(t, "stream") // or the connection
	c.grant(uint32(max(2*id-1, 0)), 1+anyWindow.Draw(t, "bytes"))
}

func (c *crowd) changeWindows(t *rapid.T) {
	c.settings(initialWindow(anyWindow.Draw(t, "bytes")))
}

func (c *crowd) listen(*rapid.T) { c.settle() }

// conclude ends the open streams, gives credit for all, and checks the answers.
func (c *crowd) conclude(t *rapid.T) {
	c.settings(initialWindow(1 << 24))
	c.grant(0, 1<<24)
	for _, stream := range c.streams {
		if !stream.over {
			c.finish(stream)
		}
	}
	for _, stream := range c.streams {
		c.hearOut(t, stream)
	}
}

func (c *crowd) hearOut(t *rapid.T, stream *talk) {
	a := c.answers[stream.id]
	if stream.gone {
		if !bytes.HasPrefix(stream.sent, a.data) {
			t.Errorf("stream %d: %d bytes came that were not sent", stream.id, len(a.data))
		}
		return
	}
	for a.end == "" {
		c.read()
	}
	want := "grpc-status=0"
	if len(stream.sent) == 0 {
		want = ":status=200, content-type=application/grpc, " + want
	}
	if a.end != want || a.reset || !bytes.Equal(stream.sent, a.data) {
		t.Errorf("stream %d: expected %d bytes and %s, got %d and %s", stream.id, len(stream.sent), want, len(a.data), a.end)
	}
}

func TestInterleavedStreams(t *testing.T) {
	h := serve(t, echo)
	property.Check(t, func(t *rapid.T) {
		frames := http2.Setting{ID: http2.SettingMaxFrameSize, Val: rapid.SampledFrom([]uint32{frameLimit, 20_000}).Draw(t, "frame size")}
		c := &crowd{peer: h.dial(t, initialWindow(anyWindow.Draw(t, "window")), frames)}
		for range rapid.IntRange(1, 5).Draw(t, "streams at first") {
			c.begin(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": c.begin, "say": c.say, "say more": c.say, "send": c.sendSome, "send more": c.sendSome, "half-close": c.halfClose,
			"reset": c.cutOff, "credit": c.giveCredit, "windows": c.changeWindows, "listen": c.listen,
		})
		c.conclude(t)
	})
}
