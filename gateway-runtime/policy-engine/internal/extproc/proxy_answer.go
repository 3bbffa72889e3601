package extproc

import (
	"crypto/rand"
	"strings"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// proxyAnswers recognises Envoy's own answers, by a token that lasts as long as the engine's process.
//
// Envoy's own answers reach the engine like any response. For a watched exchange the engine sends Envoy a token, in
// dynamic metadata. An answer that Envoy makes for such an exchange has a header with the token and with what Envoy
// knows about its cause (translate/envoy/local_replies.py). The engine reads the header and removes it: no policy,
// client or upstream ever sees the token, so no upstream can forge the header.
type proxyAnswers struct {
	token   string
	message []byte // a ProcessingResponse with the token alone
}

func newProxyAnswers() *proxyAnswers {
	p := &proxyAnswers{token: rand.Text()}
	fields := &structpb.Struct{Fields: map[string]*structpb.Value{envoynames.WatchedTokenKey: structpb.NewStringValue(p.token)}}
	metadata := &structpb.Struct{Fields: map[string]*structpb.Value{envoynames.WatchedNamespace: structpb.NewStructValue(fields)}}
	p.message, _ = proto.Marshal(&servicev3.ProcessingResponse{DynamicMetadata: metadata}) // texts in UTF-8
	return p
}

// ShowProxyAnswer has show called with an answer of Envoy's own.
func (f *front) ShowProxyAnswer(show func(answer proxyanswer.Answer)) { f.showProxy = show }

// addToken adds the token to a message.
func (f *front) addToken(message *outgoing) {
	message.head = append(f.proxy.message[:len(f.proxy.message):len(f.proxy.message)], message.head...) // concatenated messages are merged
}

// extractProxyAnswer removes Envoy's header about its own answer from a response, and reports the answer.
//
//go:noinline
func (f *front) extractProxyAnswer(response *chain.Head) {
	for n, header := range response.Headers {
		if header.Name != envoynames.ProxyAnswerHeader {
			continue
		}
		if answer, ok := f.proxy.read(header.Value); ok {
			kept := make(v1alpha.Headers, 0, len(response.Headers))
			response.Headers = append(append(kept, response.Headers[:n]...), response.Headers[n+1:]...)
			answer.Status = response.Status
			f.answered = true
			f.showProxy(answer)
			return
		}
	}
}

// read parses Envoy's header: TOKEN FLAGS DETAILS UPSTREAM TRANSPORT, with "-" for an absent part; the last part may
// have blanks.
func (p *proxyAnswers) read(text string) (proxyanswer.Answer, bool) {
	parts := strings.SplitN(text, " ", 5)
	if len(parts) < 5 || parts[0] != p.token {
		return proxyanswer.Answer{}, false
	}
	for n := range parts {
		if parts[n] == "-" {
			parts[n] = ""
		}
	}
	return proxyanswer.Answer{Flags: parts[1], Details: parts[2], Upstream: parts[3], Transport: parts[4]}, true
}

// withoutProxyAnswer adds to the changes of a response of Envoy's own that its header is removed.
func withoutProxyAnswer(changes chain.Changes) chain.Changes {
	changes.Headers.Remove = append(changes.Headers.Remove[:len(changes.Headers.Remove):len(changes.Headers.Remove)], envoynames.ProxyAnswerHeader)
	return changes
}

// PassRefusal answers the response's headers, the first message of a request that a filter before ext_proc has refused.
// After the end of the stream Envoy goes on without the engine.
func (f *front) PassRefusal() error {
	message, err := headersAnswer(&chain.Changes{}, "", true)
	if err != nil {
		return err
	}
	return f.send(message)
}
