package extproc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// attachedFront is the front end of an exchange of an Envoy that is not the node's own. Its filter is configured once for all
// chains, so that it may send more than the chain of an exchange needs: that goes on as it comes.
type attachedFront struct {
	front

	authority string  // of the stream: names the API where no route name does
	passed    bool    // the request's headers have gone on
	wants     [2]bool // the bodies that the chain needs
	answers   bool    // the chain needs the response
}

// leastMinor is that of the first version of Envoy that fails a request whose client of the engine it cannot make
// (https://github.com/envoyproxy/envoy/issues/45220).
const leastMinor = 39

// Open names the exchange's route by the authority of its stream if Envoy has sent no route name.
func (f *attachedFront) Open(ctx context.Context) (exchange.Opening, error) {
	opening, err := f.front.Open(ctx)
	if opening.Route == "" && opening.Refusal == 0 {
		opening.Route = f.authority
	}
	if minor := f.message.minor; minor > 0 && minor < leastMinor {
		opening.Outdated = fmt.Sprintf("expected Envoy 1.%d or newer, got 1.%d", leastMinor, minor)
	}
	return opening, err
}

// SetRoute does nothing: the name is for logs of the node's own Envoy.
func (f *attachedFront) SetRoute(string) {}

// ShowProxyAnswer does nothing: the node does not know what this Envoy answers by itself.
func (f *attachedFront) ShowProxyAnswer(func(answer proxyanswer.Answer)) {}

// CheckMode refuses modes that keep a body from the chain, or hold it in Envoy. Envoy does not say whether it sends the
// response's headers. A filter that streams the response's body without them fails, so that a chain that needs either needs
// the body.
func (f *attachedFront) CheckMode(c *chain.Chain) error {
	mode := c.Mode()
	f.answers = mode.WantsResponse()
	f.wants = [2]bool{mode.WantsRequestBody(), mode.WantsResponseBody()}
	return errors.Join(checkAttachedMode("request", f.wants[chain.Request], f.modes[chain.Request]),
		checkAttachedMode("response", f.answers, f.modes[chain.Response]))
}

func checkAttachedMode(message string, needed bool, got filterv3.ProcessingMode_BodySendMode) error {
	if got == streamedMode || got == filterv3.ProcessingMode_NONE && !needed {
		return nil
	}
	return fmt.Errorf("ext_proc: %s_body_mode of the attached Envoy: expected %s, got %s; `gatewright attach` prints the filter", message, streamedMode, got)
}

// SendHeaders lets the headers go on, and with them a body that the chain does not need.
func (f *attachedFront) SendHeaders(direction chain.Direction, changes chain.Changes) error {
	if changes.Authority != "" { // no route of that Envoy reads the metadata by which the node's own gets it
		authority := v1alpha.Header{Name: ":authority", Value: changes.Authority}
		changes.Headers.Set = append(slices.Clone(changes.Headers.Set), authority)
		changes.Authority = ""
	}
	passes := !f.wants[direction] && f.comes(direction)
	var body *[]byte
	if passes && changes.Body != nil {
		has, err := f.HasBody(f.stream.Context(), direction)
		if err != nil {
			return err
		}
		if has {
			body, changes.Body = changes.Body, nil
		}
	}
	if direction == chain.Request && !f.answers && f.show == nil {
		f.show = func(chain.Side, chain.Head) {} // the response goes on by itself
	}
	if err := f.front.SendHeaders(direction, changes); err != nil {
		return err
	}
	f.passed = f.passed || direction == chain.Request
	switch {
	case body != nil:
		return f.SendLast(f.stream.Context(), direction, *body, chain.End{})
	case passes:
		return f.SendRest(f.stream.Context(), direction)
	}
	return nil
}

// comes reports whether Envoy sends the rest of a message, of which the headers alone have come.
func (f *front) comes(direction chain.Direction) bool {
	if f.modes[direction] != streamedMode {
		return false
	}
	f.mu.Lock()
	defer f.unlock()
	return !f.demux.Ended(direction)
}

// passRest lets the rest of a message go on, of which the headers alone have come.
func (f *front) passRest(ctx context.Context, direction chain.Direction) error {
	if !f.comes(direction) {
		return nil
	}
	return f.SendRest(ctx, direction)
}

// Finish waits until everything that Envoy sends has gone on. Envoy ends the stream without a response if its filter does
// not send it.
func (f *attachedFront) Finish(ctx context.Context) error {
	err := f.front.Finish(ctx)
	if f.passed && !f.answers && errors.Is(err, exchange.ErrProxyCancelled) {
		return nil
	}
	return err
}
