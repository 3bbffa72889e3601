package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// eventEnd ends the data of each event. A policy that streams replaces it by another sign, which shows the reader that the
// policy has seen the event.
const eventEnd = "~"

// answerEvents answers `?events=N&every=D` with an event stream: N events, each with the time at which it is sent, in
// nanoseconds since the epoch, and D between them. It returns false if the request asks for no events.
func answerEvents(exchange *fasthttp.RequestCtx) bool {
	query := exchange.QueryArgs()
	if !query.Has("events") {
		return false
	}
	events, every, err := eventsOf(query)
	if err != nil {
		exchange.Error(err.Error(), fasthttp.StatusTeapot)
		return true
	}
	exchange.Response.Header.SetContentType("text/event-stream")
	exchange.SetBodyStreamWriter(func(out *bufio.Writer) { writeEvents(out, events, every) })
	return true
}

func eventsOf(query *fasthttp.Args) (int, time.Duration, error) {
	events, err := query.GetUint("events")
	if err != nil {
		return 0, 0, fmt.Errorf("expected events=N, got %q", query.Peek("events"))
	}
	if !query.Has("every") {
		return events, 0, nil
	}
	every, err := time.ParseDuration(string(query.Peek("every")))
	if err != nil {
		return 0, 0, fmt.Errorf("expected every=DURATION, got %q", query.Peek("every"))
	}
	return events, every, nil
}

// writeEvents returns early if the client has left.
func writeEvents(out *bufio.Writer, events int, every time.Duration) {
	for n := range events {
		if n > 0 {
			time.Sleep(every)
		}
		_, _ = fmt.Fprintf(out, "data: %d %s\n\n", time.Now().UnixNano(), eventEnd)
		if out.Flush() != nil {
			return
		}
	}
}

// eventTime returns when the event of a line was sent, and whether the line is one of an event. Its data must end with end.
func eventTime(line []byte, end string) (sent time.Time, isEvent bool, err error) {
	data, isEvent := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: "))
	if !isEvent {
		return time.Time{}, false, nil
	}
	number, rest, _ := bytes.Cut(data, []byte(" "))
	nanoseconds, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || string(rest) != end {
		return time.Time{}, true, fmt.Errorf("expected an event with a time and %q, got %q", end, line)
	}
	return time.Unix(0, nanoseconds), true, nil
}
