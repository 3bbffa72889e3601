package v1alpha

import (
	"context"
	"iter"
)

// Chunks is a body in parts. None of them is empty, and their boundaries mean nothing. An error is the last item: the
// rest of the body is lost.
type Chunks = iter.Seq2[[]byte, error]

// RequestStreamer is a Policy whose definition has requestBodyMode: STREAM.
type RequestStreamer interface {
	// OnRequestStream is called with the request's body as it arrives, after OnRequest if the definition asks for that
	// too, and returns the body that goes on instead. req.Body is nil. The request goes on with the first chunk that is yielded,
	// which may be empty, or at the end.
	//
	// A chunk belongs to its receiver; the policy must not change a chunk after yielding it. An error that it yields
	// ends the exchange: a *Reject with its answer, any other as an error of OnRequest, as long as the response's headers
	// have not been sent; after that the stream is reset. An error that chunks yields must be yielded on.
	//
	// ctx is done when the body is no longer needed. The attachment's timeout bounds the policy's work between
	// two chunks, not the waiting for them.
	OnRequestStream(ctx context.Context, req *RequestContext, chunks Chunks) Chunks
}

// ResponseStreamer is a Policy whose definition has responseBodyMode: STREAM.
type ResponseStreamer interface {
	// OnResponseStream is OnRequestStream in the other direction.
	OnResponseStream(ctx context.Context, res *ResponseContext, chunks Chunks) Chunks
}

// Reject is an error of a stream that answers the client, as an ImmediateResponse of OnRequest or OnResponse would.
type Reject struct {
	Response *ImmediateResponse
	// File and Line are where a policy in another process has raised it; "" and 0 if that is unknown.
	File string
	Line int
}

func (r *Reject) Error() string { return "the policy rejects the message" }

// Trailers are the trailers of the message whose body is streamed. They have arrived when its chunks have ended.
type Trailers struct {
	// Headers are the trailers as received; nil before the end, and if the message has none.
	Headers Headers
	// Set and Remove change the trailers when the stream has ended; first Remove, then Set. They have no effect on a message that
	// arrived without trailers. The refusals of HeaderModifications apply.
	Set    []Header
	Remove []string
}

// Analytics are the values that a stream leaves for the access log, beside those that actions have left.
type Analytics struct {
	// Values are JSON values, as AnalyticsMetadata of an action, and count when the stream has ended without an error. A
	// value takes the place of one that has been left under its name before. The stream gives the map away.
	Values map[string]any
}
