package grpcstream

// mostIdle limits a connection's idle workers.
const mostIdle = 256

// workers are the goroutines that run the handlers of a connection's streams, each one stream after the other. A worker
// keeps the stack that its first stream has grown; a new goroutine for each stream would grow its own, which copies it
// twice. The connection's mutex guards the fields.
type workers struct {
	idle  []chan *Stream // those that wait for a stream; the last one to begin gets the next stream
	ended bool           // no more streams come
}

// start has a worker run the stream's handler.
func (c *connection) start(s *Stream) {
	last := len(c.workers.idle) - 1
	if last < 0 {
		c.server.handlers.Go(func() { c.work(s) })
		return
	}
	worker := c.workers.idle[last]
	c.workers.idle = c.workers.idle[:last]
	worker <- s
}

// work is a worker: it runs the handler of one stream after the other.
func (c *connection) work(s *Stream) {
	streams := make(chan *Stream, 1)
	for s != nil {
		s.finish(c.server.handler(s))
		s = c.nextStream(streams)
	}
}

// nextStream waits for a worker's next stream; nil: the worker is not needed any more.
func (c *connection) nextStream(streams chan *Stream) *Stream {
	c.mu.Lock()
	needed := !c.workers.ended && len(c.workers.idle) < mostIdle
	if needed {
		c.workers.idle = append(c.workers.idle, streams)
	}
	c.mu.Unlock()
	if !needed {
		return nil
	}
	return <-streams
}

// end ends the idle workers; the others end with their streams.
func (w *workers) end() {
	w.ended = true
	for _, worker := range w.idle {
		close(worker)
	}
}
