package pythonbridge

import "fmt"

// frameCredit is the flow control of frames: the number of frames sent on the present stream, and of those that the
// process has acknowledged. The mutex of its StreamManager guards it.
type frameCredit struct {
	limit        uint64 // frames that may be sent without acknowledgement
	sent         uint64 // on the present stream
	acknowledged uint64 // frames of these
	total        uint64 // frames sent on any stream
}

// reset starts a new stream.
func (c *frameCredit) reset() { c.sent, c.acknowledged = 0, 0 }

// available reports whether one more frame may be sent.
func (c *frameCredit) available() bool { return c.sent-c.acknowledged < c.limit }

// idle reports whether the process has acknowledged all frames.
func (c *frameCredit) idle() bool { return c.sent == c.acknowledged }

// next is the number of the next frame.
func (c *frameCredit) next() uint64 { return c.sent + 1 }

// countSent records that the next frame is on its way.
func (c *frameCredit) countSent() {
	c.sent++
	c.total++
}

// acknowledge records how many frames of the stream the process has read, and reports whether the number has grown. An
// error is a violation of the protocol.
func (c *frameCredit) acknowledge(frames uint64) (more bool, err error) {
	if frames > c.sent {
		return false, fmt.Errorf("expected at most %d frames acknowledged, for so many were sent, got %d", c.sent, frames)
	}
	more = frames > c.acknowledged
	c.acknowledged = max(c.acknowledged, frames)
	return more, nil
}

// hasRead reports whether the process has acknowledged a frame, by its number.
func (c *frameCredit) hasRead(frame uint64) bool { return frame <= c.acknowledged }
