package v1alpha

import (
	"context"
	"iter"
)

// Chunks is a body in parts. None of them is empty, and their boundaries mean nothing. An error is the last of it: the
// body cannot be had to its end.
type Chunks = iter.Seq2[[]byte, error]

// RequestStreamer is a Policy whose definition says requestBodyMode: STREAM.
type RequestStreamer interface {
	// OnRequestStream is called with the request's body as it comes, after OnRequest where the definition asks for that
	// too, and returns what goes on instead. req.Body is nil. The request goes on with the first chunk that is yielded,
	// which may be empty, or at the end.
	//
	// The chunk belongs to whoever is given it; one that was yielded may not be changed any more. An error that it yields
	// ends the exchange: a *Reject with that answer, any other as OnRequest's would, as long as the response's headers
	// are not out; after that the stream is reset. One that chunks yields must be yielded on.
	//
	// ctx is done when nobody waits for the body any more. The attachment's timeout bounds what the policy does between
	// two chunks, not the waiting for them.
	OnRequestStream(ctx context.Context, req *RequestContext, chunks Chunks) Chunks
}

// ResponseStreamer is a Policy whose definition says responseBodyMode: STREAM.
type ResponseStreamer interface {
	// OnResponseStream is OnRequestStream in the other direction.
	OnResponseStream(ctx context.Context, res *ResponseContext, chunks Chunks) Chunks
}

// Reject is an error of a stream that answers the client, as an ImmediateResponse of OnRequest or OnResponse would.
type Reject struct {
	Response *ImmediateResponse
	// File and Line are where a policy in another process has raised it; "" and 0 where that is not known.
	File string
	Line int
}

func (r *Reject) Error() string { return "the policy rejects the message" }

// Trailers are those of the message whose body a stream is given. They have come when its chunks have ended.
type Trailers struct {
	// Headers are as they came; nil before the end, and where the message has none.
	Headers Headers
	// Set and Remove change them when the stream has ended; first Remove, then Set. A message that came without trailers
	// gets none: there they are without effect. What is refused is as in HeaderModifications.
	Set    []Header
	Remove []string
}
